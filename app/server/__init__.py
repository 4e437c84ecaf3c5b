"""`populace serve`: an HTTP API and a page for people who write no code, on this machine unless told otherwise.

`request.py` turns what a client says into a spec; `work.py` is the process that does one job, so that it can be ended; `jobs.py` keeps the queue;
`api.py` binds them to addresses; `guard.py` says who may ask. The page is `page.html` with `page.js` and `page.css`, served as they are.
"""
