"""HTTP: the API, the pages and everything a browser sees. The only room that imports FastAPI."""
