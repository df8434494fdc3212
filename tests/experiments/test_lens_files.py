"""Wavefront files written from known coefficients come back in our units, axes and signs."""

import math
import warnings

import pytest
import torch

from experiments.data.errors import DataError
from experiments.lens_files import from_poppy, lens_from_files, read_wavefront
from optics import MappedLens, SeidelLens, TabulatedLens, ThinLens
from optics.grids import coordinates, disc_coverage
from optics.propagation import cis, to_sensor
from optics.zernike import zernike_at

THIN = ThinLens(focal_length=16e-3)
WAVES = [0.1, -0.2, 0.3, 0.05, -0.06, 0.07, 0.08, -0.09, 0.11]
LAMBDA = 0.5876e-6


def zemax_zernike(waves, *, kind="Standard", angles=(0.0, 0.0), wavelength=0.5876):
    lines = [
        f"Listing of Zernike {kind} Coefficient Data",
        "",
        "File : C:\\lenses\\triplet.zmx",
        "Title: a triplet",
        "",
        f"Using Zernike {kind} polynomials.",
        "OPD referenced to chief ray.",
        "",
        "Surface                      : Image",
        f"Field                        : {angles[0]:.4f}, {angles[1]:.4f} (deg)",
        f"Wavelength                   : {wavelength:10.4f} µm",
        "Peak to Valley (to chief)    :      0.99999999 waves",
        "",
        *(f"Z {j:3d} {value:15.8f} :   a polynomial" for j, value in enumerate(waves, 1)),
    ]
    return "\r\n".join(lines) + "\r\n"


def zemax_map(function, n=64, angles=(0.0, 0.0)):
    """N x N: sample N / 2 + 1 is the centre, the first row and column are empty, y runs up."""
    place = [(k - n // 2) / (n / 2 - 1) for k in range(n)]
    rows = [
        [function(x, -y) if math.hypot(x, y) <= 1 + 1e-9 else 0.0 for x in place] for y in place
    ]
    lines = [
        "Listing of Wavefront Map Data",
        "",
        "Wavefront Function",
        f"0.5876 µm at {angles[0]:.4f}, {angles[1]:.4f} (deg)",
        "Peak to valley = 1.0000 waves, RMS = 0.1000 waves.",
        "Exit Pupil Diameter: 5.0000E+00 Millimeters",
        "",
        f"Pupil grid size: {n} by {n}",
        f"Center point is: Col {n // 2 + 1}, Row {n // 2 + 1}",
        "",
        *("\t".join(f"{value: .6E}" for value in row) for row in rows),
    ]
    return "\n".join(lines)


def code_v_grid(function, n=33, scale=100000):
    place = [2 * k / (n - 1) - 1 for k in range(n)]
    values = [
        round(scale * function(x, -y)) if math.hypot(x, y) <= 1 + 1e-9 else -999999
        for y in place
        for x in place
    ]
    lines = [" ".join(map(str, values[k : k + 10])) for k in range(0, len(values), 10)]
    header = f"GRD {n} {n} WFR WVL 0.5876 SSZ {scale} NDA -999999"
    return "\n".join(["! a comment", "a title", header, *lines])


def code_v_zernike(kind, waves, scale=1.0):
    values = " ".join(f"{scale * value:.8f}" for value in waves)
    return f"! a comment\na title\n{kind} {len(waves)} WFR WVL 0.5876 SSZ {scale}\n{values}\n"


def in_file(kind, waves, x, y):
    """Sum of the polynomials as the programs define them, x right and y up [waves]."""
    r, a = math.hypot(x, y), math.atan2(y, x)
    c, s = math.cos, math.sin
    radial = {
        "standard": [  # Zemax help, "Zernike Standard Coefficients"
            1, 2 * r * c(a), 2 * r * s(a), 3**0.5 * (2 * r**2 - 1), 6**0.5 * r**2 * s(2 * a),
            6**0.5 * r**2 * c(2 * a), 8**0.5 * (3 * r**3 - 2 * r) * s(a),
            8**0.5 * (3 * r**3 - 2 * r) * c(a), 8**0.5 * r**3 * s(3 * a),
        ],
        "fringe": [
            1, r * c(a), r * s(a), 2 * r**2 - 1, r**2 * c(2 * a), r**2 * s(2 * a),
            (3 * r**3 - 2 * r) * c(a), (3 * r**3 - 2 * r) * s(a), 6 * r**4 - 6 * r**2 + 1,
        ],
        "code_v": [  # CODE V reference, standard Zernike polynomials
            1, r * c(a), r * s(a), r**2 * c(2 * a), 2 * r**2 - 1, r**2 * s(2 * a), r**3 * c(3 * a),
            (3 * r**3 - 2 * r) * c(a), (3 * r**3 - 2 * r) * s(a),
        ],
    }[kind]  # fmt: skip
    return sum(w * z for w, z in zip(waves, radial, strict=True))


def expected(kind, waves, y, x):
    """Our opd: delay in metres, y down."""
    rows = [[-LAMBDA * in_file(kind, waves, u, -v) for u in x.tolist()] for v in y.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def synthesis(coefficients, y, x):
    return zernike_at(coefficients, y[:, None], x[None, :])


def save(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("kind", ["Standard", "Fringe"])
def test_zernike_listings_of_zemax(tmp_path, kind, encoding):
    path = save(tmp_path / "a.txt", zemax_zernike(WAVES, kind=kind, angles=(3, 14)), encoding)
    got = read_wavefront(path)
    y, x = coordinates(5, 0.3), coordinates(6, 0.2)
    # the listing has 8 digits
    torch.testing.assert_close(
        synthesis(got.opd, y, x), expected(kind.lower(), WAVES, y, x), rtol=0, atol=1e-7 * LAMBDA
    )
    assert got.wavelength == pytest.approx(LAMBDA)
    assert got.field == pytest.approx((-math.tan(math.radians(14)), math.tan(math.radians(3))))


@pytest.mark.parametrize(("kind", "name"), [("ZFR", "fringe"), ("ZRN", "code_v")])
def test_zernike_files_of_code_v_with_their_scale(tmp_path, kind, name):
    got = read_wavefront(save(tmp_path / "a.int", code_v_zernike(kind, WAVES, 250.0)))
    y, x = coordinates(5, 0.3), coordinates(6, 0.2)
    torch.testing.assert_close(
        synthesis(got.opd, y, x), expected(name, WAVES, y, x), rtol=0, atol=1e-7 * LAMBDA
    )
    assert got.field is None


@pytest.mark.parametrize("program", ["zemax", "code_v"])
def test_maps_equal_the_zernikes_they_were_made_of(tmp_path, program):
    def function(x, y):
        return in_file("standard", WAVES, x, y)

    text = zemax_map(function) if program == "zemax" else code_v_grid(function)
    got = read_wavefront(
        save(tmp_path / "a.txt", text, "utf-16" if program == "zemax" else "ascii")
    )
    at = coordinates(len(got.opd), 1 / got.radius)
    inside = got.opd.isfinite()
    truth = expected("standard", WAVES, at, at)
    # 7 and 5 digits in the files
    torch.testing.assert_close(got.opd[inside], truth[inside], rtol=0, atol=1e-5 * LAMBDA)
    outside = at[:, None] ** 2 + at[None, :] ** 2 > 1 + 1e-6
    assert bool((inside == ~outside).all())


def test_the_other_sign_and_row_order_can_be_said(tmp_path):
    path = save(tmp_path / "a.int", code_v_grid(lambda x, y: x + 2 * y))
    plain = read_wavefront(path).opd.nan_to_num()
    assert torch.equal(read_wavefront(path, positive="lags").opd.nan_to_num(), -plain)
    assert torch.equal(read_wavefront(path, first_row="bottom").opd.nan_to_num(), plain.flip(0))


def test_a_symmetric_lens_of_files_is_that_lens_at_all_azimuths(tmp_path):
    """Coma of a Seidel lens along Zemax's +y, that is towards smaller rows, met at any azimuth."""
    diameter, half = 5e-3, math.radians(14)
    lens = SeidelLens(THIN, aperture_diameter=diameter, half_field=half, coma=1e-6, spherical=2e-7)
    for h in (1.0, 0.0, 0.5):
        waves = [0.0] * 11
        # W040 rho^4 = W (Z11 / (6 sqrt 5) + Z4 / (2 sqrt 3) + Z1 / 3), W131 along +y: Z7 and Z3
        spherical, coma = 2e-7 / LAMBDA, h * 1e-6 / LAMBDA
        waves[10], waves[3], waves[0] = (
            spherical / 6 / 5**0.5,
            spherical / 2 / 3**0.5,
            spherical / 3,
        )
        waves[6], waves[2] = coma / 3 / 8**0.5, coma / 3
        angle = math.degrees(math.atan(h * math.tan(half)))
        save(tmp_path / f"field{angle:.3f}.txt", zemax_zernike(waves, angles=(0, angle)), "utf-16")
    read = lens_from_files(str(tmp_path / "*.txt"), THIN, aperture_diameter=diameter)
    assert isinstance(read, TabulatedLens)
    y, x = coordinates(6, 0.7e-3)[:, None], coordinates(7, 0.6e-3)[None, :]
    wave = torch.tensor([LAMBDA], dtype=torch.float64)
    for field in ((-0.12, 0.1), (0.0, 0.05), (0.2, 0.0), (0.0, 0.0)):
        where = {"field": field, "object_distance": 1.0, "sensor_distance": 16e-3}
        # 8 digits of a wave, 4 of a degree in the field (2e-6 of coma)
        torch.testing.assert_close(
            read.opd(y, x, wave, **where), lens.opd(y, x, wave, **where), rtol=0, atol=2e-11
        )


def test_files_of_two_wavelengths_and_a_grid_of_fields(tmp_path):
    corners = [(x, y) for x in (-5, 5) for y in (-4, 4)]
    for wavelength in (0.5, 0.6):
        for x, y in corners:
            text = zemax_zernike([0, 0, 0, x + 10 * y], angles=(x, y), wavelength=wavelength)
            save(tmp_path / f"{wavelength}_{x}_{y}.txt", text)
    lens = lens_from_files(str(tmp_path / "*.txt"), THIN, aperture_diameter=5e-3, symmetric=False)
    assert lens.coefficients.shape == (2, 4, 4)
    x, y = 5, -4
    weights = lens.fields.weights((-math.tan(math.radians(y)), math.tan(math.radians(x))))
    got = weights @ lens.coefficients[0, :, 3]
    assert float(got) == pytest.approx(-(x + 10 * y) * 0.5e-6)


def test_maps_become_a_lens_on_the_pupil_given(tmp_path):
    path = save(tmp_path / "a.txt", zemax_map(lambda x, y: in_file("standard", WAVES, x, y)))
    lens = lens_from_files(str(path), THIN, aperture_diameter=4e-3)
    assert isinstance(lens, MappedLens)
    y, x = coordinates(9, 0.25e-3), coordinates(8, 0.3e-3)
    wave = torch.tensor([LAMBDA], dtype=torch.float64)
    got = lens.opd(
        y[:, None], x[None, :], wave, field=(0.0, 0.0), object_distance=1.0, sensor_distance=0.02
    )
    truth = expected("standard", WAVES, y / 2e-3, x / 2e-3)
    # cubic resampling of third-order polynomials at 1 / 31 of the radius
    torch.testing.assert_close(got[0], truth, rtol=0, atol=1e-4 * LAMBDA)


def test_fields_can_be_given_to_files_that_have_none(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.int", code_v_zernike("ZFR", [float(k)]))
    fields = [(0.0, 0.0), (0.0, 0.1), (0.0, 0.2)]
    with pytest.raises(DataError, match="names no field angle; give fields="):
        lens_from_files(str(tmp_path / "*.int"), THIN, aperture_diameter=5e-3)
    lens = lens_from_files(str(tmp_path / "*.int"), THIN, aperture_diameter=5e-3, fields=fields)
    assert lens.coefficients[0, :, 0].tolist() == pytest.approx([0, -LAMBDA, -2 * LAMBDA])


BROKEN = {
    "nothing": ("hello\n", "neither a text listing of Zemax.*nor an interferogram file"),
    "other": ("Listing of Spot Diagram Data\n", "neither of Zernike Standard.*Save as text"),
    "comma": (zemax_zernike(WAVES).replace("0.30000000", "0,30000000"),
              "line 16: .*decimal point .not a comma"),
    "twice": (zemax_zernike(WAVES).replace("Z   4", "Z   3"), "line 17: .*one field per file, Z 3"),
    "gap": (zemax_zernike(WAVES).replace("Z   4", "Z   5"), "line 17: .*expected Z 4 after Z 3"),
    "waveless": (zemax_zernike(WAVES).replace("Wavelength", "Waves"), "no line 'Wavelength"),
    "nanometres": (zemax_zernike(WAVES, wavelength=587.6), "line 11: .*0.2 to 20 micrometres"),
    "cut": (zemax_map(lambda x, y: x)[:9000], "line 20: .*64 numbers with a decimal"),
    "surface": (code_v_grid(lambda x, y: x).replace("WFR", "SUR"), "line 3: .*SUR is a surface"),
    "unit": (code_v_grid(lambda x, y: x).replace("WVL 0.5876", ""), "line 3: .*WVL, the wave"),
    "short": (code_v_zernike("ZFR", WAVES).replace("ZFR 9", "ZFR 10"), "9 numbers.*expected 10"),
    "word": (code_v_grid(lambda x, y: x).replace("NDA", "XSC"), "line 3: .*instead of XSC"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_used_names_the_line_and_what_was_expected(tmp_path, name):
    text, message = BROKEN[name]
    path = save(tmp_path / "broken.txt", text)
    with pytest.raises(DataError, match=message) as raised:
        read_wavefront(path)
    assert str(path) in str(raised.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_wavefront(tmp_path / "none.txt")
    with pytest.raises(DataError, match="no file matches"):
        lens_from_files(str(tmp_path / "*.txt"), THIN, aperture_diameter=5e-3)
    a = save(tmp_path / "a.txt", zemax_zernike(WAVES))
    b = save(tmp_path / "b.txt", zemax_zernike(WAVES, angles=(3, 0)))
    c = save(tmp_path / "c.txt", zemax_zernike(WAVES, angles=(0, 4)))
    off = [str(b), str(save(tmp_path / "d.txt", zemax_zernike(WAVES, angles=(5, 0))))]
    with pytest.raises(DataError, match=r"do not lie along one radius.*symmetric=false"):
        lens_from_files([str(a), str(b), str(c)], THIN, aperture_diameter=5e-3)
    with pytest.raises(DataError, match="no field point on the axis"):
        lens_from_files(off, THIN, aperture_diameter=5e-3)
    with pytest.raises(DataError, match="expected one for every field point"):
        lens_from_files([str(a), str(a)], THIN, aperture_diameter=5e-3)
    with pytest.raises(DataError, match="span no area"):
        lens_from_files([str(a), str(b)], THIN, aperture_diameter=5e-3, symmetric=False)


SAMPLES, RADIUS = 128, 2e-3
SPACING = 2 * RADIUS / SAMPLES


def poppy_elements(coefficients):
    import poppy

    return (
        poppy.CircularAperture(radius=RADIUS, gray_pixel=False),
        poppy.ZernikeWFE(radius=RADIUS, coefficients=coefficients),
    )


def test_poppy_pupil_makes_the_picture_that_poppy_makes():
    """Tilt, coma and trefoil: no symmetry is left that could hide a flip."""
    coefficients = [0, 2e-7, 1e-7, 5e-8, 4e-8, 0, 7e-8, 3e-8, 6e-8, 2e-8]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import astropy.units as u
        import poppy

        stop, wavefront = poppy_elements(coefficients)
        system = poppy.OpticalSystem(npix=SAMPLES, pupil_diameter=2 * RADIUS * u.m)
        system.add_pupil(stop)
        system.add_pupil(wavefront)
        pitch = 550e-9 / (2 * RADIUS) / 3
        system.add_detector(
            pixelscale=(pitch * u.rad).to(u.arcsec) / u.pixel, fov_pixels=41, oversample=1
        )
        theirs = system.calc_psf(wavelength=550e-9, normalize="first")[0].data.astype(float)
    amplitude, _ = from_poppy(stop, samples=SAMPLES, spacing=SPACING, wavelength=550e-9)
    _, opd = from_poppy(wavefront, samples=SAMPLES, spacing=SPACING, wavelength=550e-9)
    wave = torch.tensor([550e-9], dtype=torch.float64)
    field = to_sensor(
        (amplitude * cis(2 * math.pi * opd / 550e-9))[None],
        spacing=SPACING,
        wavelength=wave,
        distance=0.1,
        points=(41, 41),
        pitch=0.1 * pitch,
    )
    ours = field[0].abs().square()
    theirs = torch.from_numpy(theirs).flip(0)  # y up
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()
    # the same sum in float64, on the same half-sample grid
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-9


def test_poppy_samples_sit_where_ours_do():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, tilt = poppy_elements([0, 0, 1e-7])
    _, opd = from_poppy(tilt, samples=SAMPLES, spacing=SPACING, wavelength=550e-9)
    y = coordinates(SAMPLES, SPACING)
    inside = disc_coverage((SAMPLES, SAMPLES), SPACING, 2 * RADIUS) == 1
    truth = (2e-7 * y / RADIUS)[:, None].expand(SAMPLES, SAMPLES)
    torch.testing.assert_close(opd[inside], truth[inside], rtol=1e-12, atol=1e-20)


def test_a_converging_lens_of_poppy_is_ours():
    """-r^2 / 2f: the sign along the axis, which no image in focus shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import poppy

        # positive waves of defocus converge: the edge is ahead there
        lens = poppy.ThinLens(nwaves=2, reference_wavelength=550e-9, radius=RADIUS)
    _, opd = from_poppy(lens, samples=SAMPLES, spacing=SPACING, wavelength=550e-9)
    middle = opd[SAMPLES // 2]
    assert float(middle[SAMPLES // 2]) > float(middle[SAMPLES // 2 + 50])
