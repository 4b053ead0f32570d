"""The stage: an off-screen VTK window that fills coloured triangles and measures depth.

Points and colours of its parts are NumPy arrays shared with VTK; the meshes stay as they are.
"""

import os
import sys

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy


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

    def look(self, position, target, angle=None, height=None):
        """Point the camera: perspective with a view angle, or parallel with a view height."""
        self.camera.SetPosition(*position)
        self.camera.SetFocalPoint(*target)
        self.camera.SetViewUp(*((0, 1, 0) if abs(position[1] - target[1]) < 8 else (0, 0, 1)))
        self.camera.SetParallelProjection(height is not None)
        if height is None:
            self.camera.SetViewAngle(angle)
        else:
            self.camera.SetParallelScale(height / 2)
        self.camera.SetClippingRange(4, 20)

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


def open_sky(points, normals, quads, directions, size=320, reach=5.6):
    """Which of the `directions` each point sees, as an array (n_points, n_directions) of 0..1."""
    stage = Stage(size)
    stage.add("body", quads, len(points))
    stage.place("body", points)
    seen = np.zeros((len(points), len(directions)), np.float32)
    lifted = points + 0.03 * normals
    for k, d in enumerate(directions):
        stage.look(10 * d, (0, 0, 0), height=reach)
        depth = stage.depth()
        up = (0, 1, 0) if abs(10 * d[1]) < 8 else (0, 0, 1)
        right = np.cross(up, d)
        right /= np.linalg.norm(right)
        above = np.cross(d, right)
        column = np.clip((lifted @ right / reach + 0.5) * size, 0, size - 1).astype(int)
        row = np.clip((lifted @ above / reach + 0.5) * size, 0, size - 1).astype(int)
        own = (10 - lifted @ d - 4) / 16
        seen[:, k] = own <= depth[row, column] + 0.001
    return seen
