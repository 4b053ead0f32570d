"""The stage: an off-screen VTK window that fills coloured triangles and measures depth.

Points and colours of its parts are NumPy arrays shared with VTK; the meshes stay as they are.
"""

import os
import sys

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

NEAR, FAR = 4, 20  # of the camera's view, in decimetres


def upright(towards):
    """Up vector of a camera that looks from direction `towards`, never parallel to it."""
    return (0, 1, 0) if abs(towards[1]) < 0.8 else (0, 0, 1)


class Stage:
    """An off-screen window with parts of fixed topology; points and colours change per head."""

    def __init__(self, size):
        self.size = size
        self.renderer = vtk.vtkRenderer()
        self.renderer.GradientBackgroundOn()
        # Without a display, asking for EGL at once spares a warning about the missing X server.
        headless = sys.platform == "linux" and not os.environ.get("DISPLAY")
        self.window = vtk.vtkEGLRenderWindow() if headless else vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(size, size)
        self.window.AddRenderer(self.renderer)
        self.camera = self.renderer.GetActiveCamera()
        self.picture, self.depths = self._reader(), self._reader()
        self.picture.SetInputBufferTypeToRGB()
        self.depths.SetInputBufferTypeToZBuffer()
        self.parts = {}

    def add(self, name, quads, n_points):
        """Declare a part: its mesh, once."""
        points, colours = np.zeros((n_points, 3), np.float32), np.zeros((n_points, 3), np.uint8)
        data = vtk.vtkPolyData()
        data.SetPoints(vtk.vtkPoints())
        data.GetPoints().SetData(numpy_to_vtk(points))
        data.GetPointData().SetScalars(numpy_to_vtk(colours))
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)
        cells = vtk.vtkCellArray()
        cells.SetData(3, numpy_to_vtkIdTypeArray(triangles.ravel(), deep=True))
        data.SetPolys(cells)
        mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
        mapper.SetInputData(data)
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        actor.GetProperty().SetInterpolationToFlat()
        self.renderer.AddActor(actor)
        self.parts[name] = (points, colours, data, actor)

    def place(self, name, points, colours=None):
        """Move a part and paint it with sRGB colours in 0..255."""
        kept_points, kept_colours, data, actor = self.parts[name]
        kept_points[:] = points
        data.GetPoints().GetData().Modified()
        data.GetPoints().Modified()
        if colours is not None:
            kept_colours[:] = np.clip(colours + 0.5, 0, 255)
            data.GetPointData().GetScalars().Modified()
        data.Modified()
        actor.VisibilityOn()

    def hide(self, name):
        """Leave a part out of the next picture."""
        self.parts[name][3].VisibilityOff()

    def look(self, target, towards, distance, height, parallel=False):
        """Point the camera at `target` from the direction `towards`; `height` fills the view."""
        self.camera.SetPosition(*(target + distance * np.asarray(towards)))
        self.camera.SetFocalPoint(*target)
        self.camera.SetViewUp(*upright(towards))
        self.camera.SetParallelProjection(parallel)
        self.camera.SetParallelScale(height / 2)
        self.camera.SetViewAngle(np.degrees(2 * np.arctan(height / 2 / distance)))
        self.camera.SetClippingRange(NEAR, FAR)

    def shoot(self):
        """Picture as an array (size, size, 3)."""
        return self._read(self.picture)[::-1]

    def depth(self):
        """Depth (0 near .. 1 far) of the current view, bottom row first."""
        return self._read(self.depths)[..., 0]

    def _reader(self):
        reader = vtk.vtkWindowToImageFilter()
        reader.SetInput(self.window)
        reader.ReadFrontBufferOff()
        reader.ShouldRerenderOff()
        return reader

    def _read(self, reader):
        self.window.Render()
        reader.Modified()
        reader.Update()
        values = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
        return values.reshape(self.size, self.size, -1)


def open_sky(points, normals, quads, directions, size=320, height=5.6, distance=10):
    """Which of the `directions` each point sees.

    Parameters
    ----------
    points, normals : ndarray, shape (n_points, 3)
    quads : ndarray of int, shape (n_quads, 4)
    directions : ndarray, shape (n_directions, 3)
        Unit vectors.
    size : int
        Of the depth pictures, one per direction, in pixels.
    height, distance : float
        What the pictures cover, and from how far.

    Returns
    -------
    ndarray, shape (n_points, n_directions)
        1 where the way is free, 0 where the head is in it.
    """
    stage = Stage(size)
    stage.add("body", quads, len(points))
    stage.place("body", points)
    seen = np.zeros((len(points), len(directions)), np.float32)
    # A point must not hide itself.
    lifted = points + 0.03 * normals
    for k, d in enumerate(directions):
        stage.look(np.zeros(3), d, distance, height, parallel=True)
        depth = stage.depth()
        right = np.cross(upright(d), d)
        right /= np.linalg.norm(right)
        above = np.cross(d, right)
        column = np.clip((lifted @ right / height + 0.5) * size, 0, size - 1).astype(int)
        row = np.clip((lifted @ above / height + 0.5) * size, 0, size - 1).astype(int)
        own = (distance - lifted @ d - NEAR) / (FAR - NEAR)
        seen[:, k] = own <= depth[row, column] + 0.001
    return seen
