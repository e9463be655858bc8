"""What the operator wrote: `balancer.yaml`, the environment and what the admin API changed, as one `Config`.

`load` reads and judges a file, `overlay` and `state` keep what the API changed, `show`, `json_schema` and
`diff` tell of it, and `watch` awaits another version of the file. The words of the file are in `schema`.
"""
