"""A page about one or several runs: HTML that needs nothing else, not even a network.

data      runs, read from metrics files or from an earlier page
charts    curves as SVG
page      the HTML
"""
