"""Reports: a search folder in, tables, figures and a page out. Reads files only."""
