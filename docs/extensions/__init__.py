"""What the site adds to Sphinx, one idea in each file."""
