"""How slides come in: uploads, resumable uploads and references to stored files.

Opens no slide with a decoder and knows no SQL.
"""
