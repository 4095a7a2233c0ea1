"""TLS interception for hosts that get secrets: the box sends a placeholder, the host behind the gateway the value.

    box ──TLS (certificate of this box's own authority)──▶ Interceptor ──TLS (verified)──▶ server
          header values, URL query:  placeholder ─────────▶ value
          header values of answers:  placeholder ◀───────── value

Nothing here knows how connections are made or allowed: a `Flow` comes in, and `connect` opens the other one. Modules are imported one by one: the starter of a box needs
`authority` and nothing else of it.
"""
