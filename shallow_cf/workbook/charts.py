"""Charts of a canvas as native charts of the workbook."""

from __future__ import annotations

from openpyxl.chart import LineChart, ScatterChart
from openpyxl.chart.axis import TextAxis
from openpyxl.chart.data_source import StrRef
from openpyxl.chart.label import DataLabelList
from openpyxl.chart.legend import Legend
from openpyxl.chart.marker import Marker
from openpyxl.chart.reference import Reference
from openpyxl.chart.series import Series as ChartSeries
from openpyxl.chart.series import SeriesLabel
from openpyxl.chart.series_factory import SeriesFactory
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.drawing.line import LineProperties
from openpyxl.worksheet.worksheet import Worksheet

from shallow_cf.workbook.canvas import Chart, Series

#: Told apart in grey, too: by lightness, and lines by their dashes.
_COLOURS = ("1F4E79", "C55A11", "7F7F7F", "548235", "7030A0", "000000")
_DASHES = ("solid", "dash", "sysDot", "dashDot", "lgDash", "solid")


def add_chart(sheet: Worksheet, chart: Chart) -> None:
    """Place a chart on a sheet."""
    native = _lines(chart) if chart.kind == "line" else _points(chart)
    native.title = chart.title
    native.x_axis.title, native.y_axis.title = chart.x_title, chart.y_title
    # Without this newer versions of Excel hide both axes.
    native.x_axis.delete = native.y_axis.delete = False
    for axis in (native.x_axis, native.y_axis):
        axis.tickLblPos = "low"  # at the edge, also where the axes cross in the middle
        if axis.majorGridlines is not None:
            axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="D9D9D9"))
    native.width, native.height = 24, 13  # cm
    sheet.add_chart(native, chart.place)


def _lines(chart: Chart) -> LineChart:
    native = LineChart()
    for number, series in enumerate(chart.series):
        line = _titled(SeriesFactory(Reference(range_string=series.y)), series)
        line.graphicalProperties.line.solidFill = _COLOURS[number % len(_COLOURS)]
        line.graphicalProperties.line.dashStyle = _DASHES[number % len(_DASHES)]
        line.graphicalProperties.line.width = 22_000  # 1.7 points, in English metric units
        line.smooth = False
        native.series.append(line)
    native.set_categories(Reference(range_string=chart.series[0].x))
    native.x_axis = TextAxis(crossAx=100, tickLblSkip=10, tickMarkSkip=10)
    native.y_axis.scaling.logBase = 2  # the RMSE falls by a factor of 10 at most
    native.y_axis.majorUnit = 2  # LibreOffice's ticks, a factor of 10 otherwise
    native.y_axis.number_format = "0.00"
    if chart.y_range is not None:
        native.y_axis.scaling.min, native.y_axis.scaling.max = chart.y_range
        native.y_axis.crosses, native.x_axis.crosses = "min", "min"
    native.legend = Legend(legendPos="b")
    return native


def _points(chart: Chart) -> ScatterChart:
    native = ScatterChart(scatterStyle="lineMarker")
    for series in chart.series:
        points = _titled(
            SeriesFactory(Reference(range_string=series.y), Reference(range_string=series.x)),
            series,
        )
        points.marker = Marker(symbol="circle", size=7)
        points.marker.graphicalProperties = GraphicalProperties(solidFill=_COLOURS[0])
        points.graphicalProperties.line.noFill = True
        points.dLbls = DataLabelList(
            showSerName=True, showVal=False, showLegendKey=False, showCatName=False,
            showPercent=False, showBubbleSize=False, dLblPos="r",
        )  # fmt: skip
        native.series.append(points)
    native.legend = None
    native.x_axis.number_format = native.y_axis.number_format = "0.0"
    return native


def _titled(native: ChartSeries, series: Series) -> ChartSeries:
    native.tx = SeriesLabel(strRef=StrRef(f=series.title))
    return native
