"""The camera manager: which cameras there are, and the requests they have filled."""

import os
import threading
from collections import deque
from contextlib import suppress


class CameraManager:
    """List of cameras and queue of completed requests; one for the process.

    Its event descriptor lives as long as the process: picamera2 keeps it across openings.
    """

    _only = None

    def __init__(self):
        self.cameras = []
        self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._completed = deque()
        self._lock = threading.Lock()

    @classmethod
    def singleton(cls):
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def get(self, identity):
        return next((camera for camera in self.cameras if camera.id == identity), None)

    def completed(self, request):
        """Take a request from a camera, and wake the application."""
        with self._lock:
            self._completed.append(request)
            os.eventfd_write(self.event_fd, 1)

    def wake(self):
        """Let who waits for requests look up.

        picamera2's listener looks only every 0.2 s whether it is to end; woken when its camera is
        released, it ends at once. The wake-up stays pending until `rest` or the next request.
        """
        os.eventfd_write(self.event_fd, 1)

    def rest(self):
        """Take back wake-ups."""
        with self._lock, suppress(BlockingIOError):
            if not self._completed:
                os.eventfd_read(self.event_fd)

    def get_ready_requests(self):
        with self._lock:
            ready = list(self._completed)
            if ready:
                self._completed.clear()
                os.eventfd_read(self.event_fd)
        return ready
