"""What answers questions about views: one protocol (:class:`burnish.align.records.Generator`), three engines."""
