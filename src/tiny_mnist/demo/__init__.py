"""A page in the browser to draw digits on."""
