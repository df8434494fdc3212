"""What holds for the stand-in and for the real libcamera, with the same words.

In the normal suite these tests meet the stand-in; `run` has them meet libcamera's virtual camera
too, in a process that has no stand-in.
"""

import gc
import select
import time
from concurrent.futures import TimeoutError as JobTimeout
from types import SimpleNamespace

import pytest

from tests import standin
from tests.real.virtual_camera.sides import (
    FORMAT,
    SIZE,
    buffers,
    frames_are_paced,
    open_picamera,
    plugged,
)

pytestmark = standin.marks


@pytest.fixture
def library():
    with plugged():
        import libcamera

        yield libcamera


@pytest.fixture
def camera(library):
    """The bare camera of libcamera, given back whatever happened to it."""
    camera = library.CameraManager.singleton().cameras[0]
    yield camera
    camera.stop()
    library.CameraManager.singleton().get_ready_requests()
    camera.release()


@pytest.fixture
def granted(library, camera):
    """A configuration of the camera, with its buffers; `request` makes requests.

    They are kept until the camera stands still: the virtual one of libcamera 0.7 still looks at
    a request when it has handed it back.
    """
    camera.acquire()
    configuration = camera.generate_configuration([library.StreamRole.Viewfinder])
    stream = configuration.at(0)
    stream.pixel_format = library.PixelFormat(FORMAT)
    stream.size = library.Size(*SIZE)
    assert configuration.validate() == library.CameraConfiguration.Status.Valid
    camera.configure(configuration)
    made, keeper = buffers(camera, stream.stream, stream.frame_size)
    requests = []

    def request(cookie=0):
        requests.append(camera.create_request(cookie))
        return requests[-1]

    yield SimpleNamespace(
        all=configuration,
        asked=stream,
        stream=stream.stream,
        buffers=made,
        keeper=keeper,
        request=request,
    )
    camera.stop()


def completed(library, timeout=3.0):
    """Wait for requests, and return them."""
    manager = library.CameraManager.singleton()
    assert select.select([manager.event_fd], [], [], timeout)[0], "no request came back"
    return manager.get_ready_requests()


def test_there_is_one_manager_which_knows_its_cameras_by_their_identity(library):
    manager = library.CameraManager.singleton()
    assert manager is library.CameraManager.singleton()
    (camera,) = manager.cameras
    assert manager.get(camera.id) is camera
    assert manager.get("of no camera") is None


def test_nobody_waits_for_a_camera_that_does_nothing(library, camera):
    manager = library.CameraManager.singleton()
    camera.acquire()
    assert not select.select([manager.event_fd], [], [], 0)[0]
    assert manager.get_ready_requests() == []


def test_a_camera_is_acquired_once_and_released_as_often_as_one_likes(camera):
    camera.acquire()
    with pytest.raises(RuntimeError, match="Failed to acquire camera: Device or resource busy"):
        camera.acquire()
    camera.release()
    camera.release()
    camera.acquire()


def test_steps_out_of_order_are_refused(library, camera):
    configuration = camera.generate_configuration([library.StreamRole.Viewfinder])
    camera.stop()
    with pytest.raises(RuntimeError, match="Failed to configure camera: Permission denied"):
        camera.configure(configuration)
    with pytest.raises(RuntimeError, match="Failed to start camera: Permission denied"):
        camera.start()
    camera.acquire()
    with pytest.raises(RuntimeError, match="Failed to start camera: Permission denied"):
        camera.start()
    with pytest.raises(RuntimeError, match="Failed to create request"):
        camera.create_request(1)


def test_a_running_camera_cannot_be_configured_or_released(library, camera, granted):
    camera.start()
    with pytest.raises(RuntimeError, match="Failed to configure camera: Permission denied"):
        camera.configure(granted.all)
    with pytest.raises(RuntimeError, match="Failed to release camera: Device or resource busy"):
        camera.release()


def test_a_configuration_is_a_list_of_streams_that_stay_themselves(library, camera):
    configuration = camera.generate_configuration([library.StreamRole.StillCapture])
    assert len(configuration) == configuration.size == 1
    assert [*configuration] == [configuration.at(0)]
    assert configuration.at(0) is configuration.at(0)
    assert configuration.orientation == library.Orientation.Rotate0
    assert configuration.sensor_config is None
    assert configuration.at(0).stream is None


def test_a_valid_configuration_tells_the_length_of_rows_and_frames(library, camera, granted):
    width, height = SIZE
    assert granted.asked.stride >= width
    assert granted.asked.frame_size == granted.asked.stride * height * 3 // 2
    assert granted.asked.buffer_count > 0
    assert granted.stream.configuration.size == library.Size(*SIZE)
    assert str(granted.asked.pixel_format) == FORMAT


@pytest.mark.parametrize("name", ["MJPEG", "SRGGB12", "of no format"])
def test_a_format_that_cannot_be_had_is_replaced_by_one_that_can(library, camera, name):
    configuration = camera.generate_configuration([library.StreamRole.Viewfinder])
    configuration.at(0).pixel_format = library.PixelFormat(name)
    assert configuration.validate() == library.CameraConfiguration.Status.Adjusted
    assert str(configuration.at(0).pixel_format) != name
    assert configuration.validate() == library.CameraConfiguration.Status.Valid


def test_controls_are_found_by_their_identity_and_have_a_range(library, camera):
    identity = library.controls.FrameDurationLimits
    assert identity in camera.controls
    info = camera.controls[identity]
    assert isinstance(info.min, int)
    assert 0 < info.min <= info.max
    assert str(identity) == identity.name == "FrameDurationLimits"
    assert {k.name: k for k in camera.controls}["FrameDurationLimits"] == identity


def test_properties_have_the_types_that_picamera2_converts(library, camera):
    named = {k.name: v for k, v in camera.properties.items()}
    assert isinstance(named["Model"], str)
    assert isinstance(named["Location"], int)
    (area,) = named["PixelArrayActiveAreas"]
    assert isinstance(named["PixelArrayActiveAreas"], tuple)
    assert isinstance(area, library.Rectangle)
    assert area.x == area.y == 0
    assert area.width > area.height > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ExposureTime", 4000),
        ("ExposureTime", True),
        ("AeEnable", 1),
        ("AnalogueGain", 2),
        ("ColourGains", (1.0, 2)),
        ("ColourGains", [1.0, 2.0]),
        ("FrameDurationLimits", (1000, 2000)),
    ],
)
def test_a_control_takes_what_can_be_converted_without_loss(library, camera, granted, name, value):
    granted.request(0).set_control(getattr(library.controls, name), value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ExposureTime", 4000.5),
        ("ExposureTime", 4000.0),
        ("ExposureTime", "4000"),
        ("ExposureTime", None),
        ("ExposureTime", 2**31),
        ("AnalogueGain", "2"),
        ("ColourGains", (1.0, None)),
        ("FrameDurationLimits", (1.5, 2)),
        ("ScalerCrop", (0, 0, 8, 8)),
    ],
)
def test_a_control_of_the_wrong_type_is_refused(library, camera, granted, name, value):
    request = granted.request(0)
    with pytest.raises(RuntimeError, match="Unable to cast"):
        request.set_control(getattr(library.controls, name), value)


def test_a_request_goes_from_pending_to_complete_and_back(library, camera, granted):
    request = granted.request(78)
    assert request.status == library.Request.Status.Pending
    assert request.buffers == {}
    assert request.metadata == {}
    request.add_buffer(granted.stream, granted.buffers[0])
    assert request.buffers == {granted.stream: granted.buffers[0]}
    camera.start()
    camera.queue_request(request)
    (back,) = completed(library)
    assert back is request
    assert back.cookie == 78
    assert back.status == library.Request.Status.Complete
    told = {k.name: v for k, v in back.metadata.items()}
    assert isinstance(told["SensorTimestamp"], int)
    assert library.controls.SensorTimestamp in back.metadata
    back.reuse()
    assert back.status == library.Request.Status.Pending
    assert back.metadata == {}
    assert back.buffers == {granted.stream: granted.buffers[0]}


def test_a_stream_has_one_buffer_in_a_request(library, camera, granted):
    request = granted.request(0)
    request.add_buffer(granted.stream, granted.buffers[0])
    with pytest.raises(RuntimeError, match="Failed to add buffer: File exists"):
        request.add_buffer(granted.stream, granted.buffers[1])


def test_a_request_is_not_taken_by_a_camera_that_stands_still(library, camera, granted):
    request = granted.request(0)
    request.add_buffer(granted.stream, granted.buffers[0])
    with pytest.raises(RuntimeError, match="Failed to queue request: Permission denied"):
        camera.queue_request(request)


def test_the_event_is_over_once_the_requests_are_fetched(library, camera, granted):
    requests = [granted.request(cookie) for cookie in range(3)]
    camera.start()
    for request, buffer in zip(requests, granted.buffers, strict=False):
        request.add_buffer(granted.stream, buffer)
        camera.queue_request(request)
    back = []
    while len(back) < len(requests):
        back += completed(library)
    assert [request.cookie for request in back] == [0, 1, 2]  # in the order of the queue
    assert not select.select([library.CameraManager.singleton().event_fd], [], [], 0.1)[0]


def test_all_requests_come_back_from_a_camera_that_is_stopped(library, camera, granted):
    requests = [granted.request(cookie) for cookie in range(4)]
    camera.start()
    for request, buffer in zip(requests, granted.buffers, strict=True):
        request.add_buffer(granted.stream, buffer)
        camera.queue_request(request)
    camera.stop()
    back = completed(library)
    assert sorted(request.cookie for request in back) == [0, 1, 2, 3]
    statuses = library.Request.Status
    assert {r.status for r in back} <= {statuses.Complete, statuses.Cancelled}
    camera.start()
    back[0].reuse()
    camera.queue_request(back[0])
    assert completed(library)[0].status == statuses.Complete


def started(camera, **options):
    """Configure and start an open Picamera2; return what the main stream was granted."""
    camera.configure(
        camera.create_still_configuration(
            main={"size": SIZE, "format": FORMAT}, **{"buffer_count": 4, "queue": False, **options}
        )
    )
    camera.start()
    return camera.camera_configuration()["main"]


@pytest.fixture
def picamera(library):
    with open_picamera() as camera:
        yield camera


@pytest.fixture
def paced(library):
    """Of cameras with a frame rate: without one, picamera2 does not come to an end of its jobs."""
    if not frames_are_paced():
        pytest.skip("the virtual camera of libcamera 0.4 has no frame rate")


def test_picamera2_is_granted_what_it_asked_for_with_lengths(picamera):
    granted = started(picamera)
    assert (granted["format"], granted["size"]) == (FORMAT, SIZE)
    assert granted["framesize"] == granted["stride"] * SIZE[1] * 3 // 2
    assert len(picamera.capture_buffer("main")) == granted["framesize"]


def test_timestamps_are_nanoseconds_of_the_monotonic_clock_in_order(picamera):
    began = time.monotonic_ns()
    started(picamera)
    stamps = [picamera.capture_metadata()["SensorTimestamp"] for _ in range(6)]
    assert stamps == sorted(set(stamps))
    assert began < stamps[-1] < time.monotonic_ns()


def test_flush_returns_a_frame_begun_after_the_call(picamera):
    started(picamera, queue=True)
    picamera.capture_metadata()
    time.sleep(0.1)
    asked = time.monotonic_ns()
    request = picamera.capture_request(flush=True)
    told = request.get_metadata()
    request.release()
    assert told["SensorTimestamp"] - 1000 * told["ExposureTime"] >= asked


def test_a_request_that_is_kept_is_not_filled_again(picamera, paced):
    started(picamera)
    kept = picamera.capture_request()
    stamp = kept.get_metadata()["SensorTimestamp"]
    others = {picamera.capture_metadata()["SensorTimestamp"] for _ in range(6)}
    assert kept.request.status.name == "Complete"
    assert stamp < min(others)
    kept.release()


def test_no_frame_comes_while_all_requests_are_kept(picamera, paced):
    started(picamera)
    kept = [picamera.capture_request() for _ in range(4)]
    job = picamera.capture_request(wait=False)
    with pytest.raises(JobTimeout):
        picamera.wait(job, timeout=0.3)
    kept.pop().release()
    kept.append(picamera.wait(job, timeout=3))
    for request in kept:
        request.release()


def test_a_stopped_camera_starts_again(picamera):
    started(picamera)
    before = picamera.capture_metadata()["SensorTimestamp"]
    picamera.stop()
    picamera.start()
    assert picamera.capture_metadata()["SensorTimestamp"] > before


def test_jobs_that_are_cancelled_leave_a_camera_that_works(picamera, paced):
    started(picamera)
    kept = [picamera.capture_request() for _ in range(4)]
    picamera.capture_request(wait=False)
    picamera.cancel_all_and_flush()
    for request in kept:
        request.release()
    assert picamera.capture_metadata()["SensorTimestamp"] > 0


def test_an_open_camera_is_refused_and_a_closed_one_opens_again(library):
    with open_picamera():
        with pytest.raises(RuntimeError, match="did not complete") as refused:
            open_picamera()
        assert "busy" in str(refused.value.__cause__)
        del refused
        gc.collect()  # the one that was refused leaves a pipe to the collector
    for _ in range(2):
        with open_picamera() as camera:
            started(camera)
            camera.capture_metadata()
            camera.close()
        assert not camera.is_open


def test_a_control_that_the_camera_does_not_have_is_refused(picamera):
    with pytest.raises(RuntimeError, match="AfMode is not advertised by libcamera"):
        picamera.set_controls({"AfMode": 0})


def test_a_control_of_the_wrong_type_fails_the_start(picamera):
    with pytest.raises(RuntimeError, match="Unable to cast"):
        started(picamera, controls={"FrameDurationLimits": (1.5, 2)})
