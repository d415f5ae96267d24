package main

import (
	"fmt"
	"math"
	"strings"
)

// chart is a diagram of lines over a few labelled points.
type chart struct {
	file  string // without its suffix
	title string
	x, y  string
	ticks []string
	lines []line
	bars  bool // draw bars instead: the points are categories, not amounts
}

type line struct {
	name   string
	values []float64
}

// add appends a point: a value for each line.
func (c *chart) add(tick string, values ...float64) {
	c.ticks = append(c.ticks, tick)
	for i, v := range values {
		c.lines[i].values = append(c.lines[i].values, v)
	}
}

const (
	plotWidth, plotHeight           = 720, 360
	plotLeft, plotRight             = 70, 20
	plotTop, plotBottom             = 60, 50
	plotFont                        = `font-family="system-ui, sans-serif" font-size="12"`
	innerWidth, innerHeight float64 = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
)

// Colours that colour-blind people can distinguish.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

// svg draws the chart.
func (c chart) svg() string {
	var b strings.Builder
	draw := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n", arguments...) }
	text := func(x, y float64, anchor, s string) {
		draw(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, escape(s))
	}
	draw(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" %s role="img" aria-label="%s">`,
		plotWidth, plotHeight, plotFont, escape(c.title))
	draw(`<rect width="100%%" height="100%%" fill="white"/>`)
	draw(`<text x="%d" y="22" font-size="15" font-weight="bold">%s</text>`, plotLeft, escape(c.title))

	step, top := c.scale()
	height := func(v float64) float64 { return plotTop + innerHeight*(1-v/top) }
	for v := 0.0; v <= top*1.001; v += step {
		draw(`<line x1="%d" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`, plotLeft, height(v), plotLeft+innerWidth, height(v))
		text(plotLeft-8, height(v)+4, "end", number(v))
	}
	slot := innerWidth / float64(len(c.ticks))
	for i, tick := range c.ticks {
		text(plotLeft+slot*(float64(i)+0.5), plotHeight-plotBottom+18, "middle", tick)
	}
	text(plotLeft+innerWidth/2, plotHeight-10, "middle", c.x)
	draw(`<text x="16" y="%.1f" text-anchor="middle" transform="rotate(-90 16 %.1f)">%s</text>`,
		plotTop+innerHeight/2, plotTop+innerHeight/2, escape(c.y))

	legend := float64(plotLeft)
	for n, line := range c.lines {
		colour := colours[n%len(colours)]
		if len(c.lines) > 1 {
			draw(`<rect x="%.1f" y="34" width="12" height="12" fill="%s"/>`, legend, colour)
			text(legend+18, 44, "start", line.name)
			legend += 40 + 7*float64(len(line.name))
		}
		var path []string
		for i, v := range line.values {
			x := plotLeft + slot*(float64(i)+0.5)
			if c.bars {
				width := slot * 0.7 / float64(len(c.lines))
				x += width * (float64(n) - float64(len(c.lines)-1)/2)
				draw(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x-width/2, height(v), width, plotTop+innerHeight-height(v), colour)
			} else {
				path = append(path, fmt.Sprintf("%.1f,%.1f", x, height(v)))
				draw(`<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`, x, height(v), colour)
			}
			shift := -8.0
			if !c.bars && v < c.highestAt(i) {
				shift = 18 // below the point, as another line's number is above its own
			}
			draw(`<text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%s</text>`, x, height(v)+shift, colour, number(v))
		}
		if !c.bars {
			draw(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(path, " "), colour)
		}
	}
	draw(`</svg>`)
	return b.String()
}

// scale is a round distance between grid lines, and the uppermost of them: about
// five, with all values below.
func (c chart) scale() (step, top float64) {
	highest := 0.0
	for i := range c.ticks {
		highest = max(highest, c.highestAt(i))
	}
	if highest == 0 {
		return 1, 1
	}
	step = math.Pow(10, math.Floor(math.Log10(highest/5)))
	for _, factor := range []float64{2, 2.5, 2} { // 2, 5, 10 times
		if highest/step > 6 {
			step *= factor
		}
	}
	return step, math.Ceil(highest*1.05/step) * step
}

// highestAt is the largest value at a point.
func (c chart) highestAt(i int) float64 {
	highest := 0.0
	for _, line := range c.lines {
		highest = max(highest, line.values[i])
	}
	return highest
}
