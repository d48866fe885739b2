"""Reports and figures in; tables, pages and what is published out."""
