"""Pictures, tables and the page. The only room that imports matplotlib and jinja2."""
