"""Disks: an image's layers become one ext4 file system without being unpacked, and boxes get overlays on it.

layer blobs ──▶ spool (decompressed, indexed) ──▶ tree (what survives) ──▶ base.ext4   + empty.qcow2
                tar_reader                        merge                    ext4_writer   qcow2
"""
