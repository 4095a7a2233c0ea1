"""Images: found in a registry or an archive, verified, kept in an OCI layout with an index of references.

reference ──▶ registry ──▶ blobs (every byte verified) ──▶ store ──▶ Image
              transport     images/blobs/sha256/…           db/images.db
              credentials
"""
