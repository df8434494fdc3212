"""The three places where picamera2 meets a kernel that is not there.

Its heap of DMA buffers becomes one of memory files, the synchronisation of these buffers becomes
nothing, and ``pykms`` is a stub (in `modules`). What device files would have told about the
model of the Pi is set instead. All else of picamera2 runs as published.
"""

import os

from tests.standin.pipelines import Pipeline


class MemoryHeap:
    """Buffers in memory files."""

    isValid = True

    def alloc(self, name, size):
        from picamera2.dma_heap import UniqueFD

        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        return UniqueFD(fd)

    def close(self):
        pass


class NoSync:
    """Access to a mapped buffer; memory files need no synchronisation."""

    def __init__(self, allocator, buffer, write):
        self._allocator, self._buffer = allocator, buffer

    def __enter__(self):
        return self.get_buffer()

    def __exit__(self, *exc_info):
        pass

    def get_buffer(self):
        memory = self._allocator.mapped_buffers.get(self._buffer)
        if memory is None:
            raise RuntimeError("failed to find buffer in DmaSync")
        return memory


def patch_buffers() -> None:
    """Replace picamera2's heap and synchronisation; doing so twice does no harm."""
    from picamera2.allocators import dmaallocator

    dmaallocator.DmaHeap = MemoryHeap
    dmaallocator.DmaAllocator.DmaSync = NoSync


def set_platform(pipeline: Pipeline) -> None:
    """Tell picamera2 which Pi it runs on."""
    import picamera2
    from picamera2 import platform

    model = platform.Platform.PISP if pipeline.name == "pisp" else platform.Platform.VC4
    platform._platform = picamera2.Picamera2.platform = model
