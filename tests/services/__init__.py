"""Real servers for tests, each started on a free port of this machine and gone with the test.

Nothing here is a fixture by itself until a conftest imports it: `postgres_server` from
`tests.services.postgres`; `moto_server` and `radosgw_server` from `tests.services.s3`.
"""
