"""The order of things: submit, dispatch, render, stitch, deliver. The only importer of prefect."""
