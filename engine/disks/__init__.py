"""Disks: an image's layers become one ext4 file system without being unpacked, and boxes get overlays on it.

layer blobs ──▶ spool (decompressed, indexed) ──▶ tree (what survives) ──▶ one tar ──▶ mke2fs ──▶ base.ext4
                tar_reader                        merge                    tar_writer   ext4       + empty.qcow2
"""
