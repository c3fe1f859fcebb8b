"""`postman console`: pages for operators, made on the server; live where a script may run, and whole without."""
