package main

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// The measurements of requests. Each compares an edge with a bare net/http
// handler that sends the same bytes to the same requests.

const perMillion = "CPU s / 1 M"

func flagsOf(subjects int) job {
	return job{Method: "GET", Path: "/v1/subject/flags?subject_id={id}", Subjects: subjects}
}

// againstBare measures a job on a server and on the bare handler.
func (l *lab) againstBare(ctx context.Context, what, name string, server *process, j job) (ours, bare samples, err error) {
	j.Addr = server.addr
	answer, err := record(ctx, j)
	if err != nil {
		return ours, bare, err
	}
	reference, err := l.bare(ctx, answer)
	if err != nil {
		return ours, bare, err
	}
	defer reference.stop()
	all, err := l.compare(ctx, what, target{"bare handler", reference, j}, target{name, server, j})
	if err != nil {
		return ours, bare, err
	}
	return all[1], all[0], nil
}

// costs is the figure of two such.
func costs(label string, ours, bare samples, most limit) figure {
	errors, example := ours.errors()
	return figure{label: label, value: ours.median(cpu), unit: perMillion, reference: bare.median(cpu), against: "bare handler",
		ratio: ours.against(bare, cpu), limit: most, errors: errors, remark: example}
}

func (l *lab) measureGet(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	j := flagsOf(d.subjects)
	j.Addr = edge.addr
	answer, err := record(ctx, j)
	if err != nil {
		return nil, err
	}
	bare, err := l.bare(ctx, answer)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	mapped, err := l.reference(ctx, reference{Answer: answer, Subjects: d.subjects})
	if err != nil {
		return nil, err
	}
	defer mapped.stop()
	routed, err := l.reference(ctx, reference{Answer: answer, Subjects: d.subjects, Echo: true})
	if err != nil {
		return nil, err
	}
	defer routed.stop()
	withoutShortcut, err := l.startEdge(ctx, d, "--shortcut=false")
	if err != nil {
		return nil, err
	}
	defer withoutShortcut.stop()
	// The same answer by a route without the shortcut and the fast handler in front
	// of it.
	byPath := j
	byPath.Path = "/v1/subjects/{id}/flags"
	all, err := l.compare(ctx, "flags of a subject", target{"bare handler", bare, j}, target{"edge", edge, j},
		target{"edge, --shortcut=false", withoutShortcut, j}, target{"edge, by its echo route", withoutShortcut, byPath},
		target{"ServeMux, query, map", mapped, j}, target{"echo, query, map", routed, j})
	if err != nil {
		return nil, err
	}
	return []figure{
		costs("", all[1], all[0], atMostTimes(1.10)),
		costs("stretch", all[1], all[0], atMostTimes(0.70)),
		costs("--shortcut=false, for comparison", all[2], all[0], limit{}),
		costs("by an echo route, for comparison", all[3], all[0], limit{}),
		costs("ServeMux, query and map, for comparison", all[4], all[0], limit{}),
		costs("echo, query and map, for comparison", all[5], all[0], limit{}),
	}, nil
}

func (l *lab) measureConditional(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	j := flagsOf(d.subjects)
	j.Conditional = true
	ours, bare, err := l.againstBare(ctx, "If-None-Match", "edge", edge, j)
	if err != nil {
		return nil, err
	}
	f := costs("", ours, bare, atMostTimes(1.05))
	if ours.median(bodySize) > 0 {
		f.errors++
		f.remark = "got bodies instead of 304"
	}
	return []figure{f}, nil
}

func (l *lab) measureFeatures(ctx context.Context) ([]figure, error) {
	chart := chart{file: "features", title: "CPU per request, by number of features",
		x: "features", y: "CPU seconds per million requests", lines: []line{{name: "edge"}, {name: "bare handler, same bytes"}}}
	var figures []figure
	for _, features := range l.size.featureCounts {
		d := dataset{subjects: l.size.subjectCounts[0], features: features}
		edge, err := l.edge(ctx, d)
		if err != nil {
			return nil, err
		}
		ours, bare, err := l.againstBare(ctx, count(features)+" features", "edge", edge, flagsOf(d.subjects))
		if err != nil {
			return nil, err
		}
		figures = append(figures, costs(fmt.Sprintf("%s features, %.0f B", count(features), ours.median(bodySize)), ours, bare, atMostTimes(1.15)))
		chart.add(count(features), ours.median(cpu), bare.median(cpu))
	}
	l.charts = append(l.charts, chart)
	return figures, nil
}

func (l *lab) measureSubjects(ctx context.Context) ([]figure, error) {
	var targets []target
	for _, subjects := range l.size.subjectCounts {
		edge, err := l.edge(ctx, dataset{subjects: subjects, features: standardFeatures})
		if err != nil {
			return nil, err
		}
		targets = append(targets, target{count(subjects) + " subjects", edge, flagsOf(subjects)})
	}
	// The bare handler as well, for the picture.
	j := targets[0].job
	j.Addr = targets[0].addr
	answer, err := record(ctx, j)
	if err != nil {
		return nil, err
	}
	bare, err := l.bare(ctx, answer)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	all, err := l.compare(ctx, "growth with subjects", append(targets, target{"bare handler", bare, j})...)
	if err != nil {
		return nil, err
	}
	chart := chart{file: "subjects", title: "CPU per request, by number of subjects",
		x: "subjects", y: "CPU seconds per million requests", lines: []line{{name: "edge"}, {name: "bare handler, same bytes"}}}
	last := len(all) - 1
	for i, subjects := range l.size.subjectCounts {
		chart.add(count(subjects), all[i].median(cpu), all[last].median(cpu))
	}
	l.charts = append(l.charts, chart)
	f := costs(targets[last-1].name, all[last-1], all[0], atMostTimes(1.2))
	f.against = targets[0].name
	return []figure{f}, nil
}

// Subjects of a batch whose cost is measured, and of the largest.
const (
	batched      = 1000
	largestBatch = 10_000
)

func (l *lab) measureBatch(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	j := job{Method: "POST", Path: "/v1/subjects/flags", Body: `{"subject_ids":[{ids}]}`, IDs: batched, Subjects: d.subjects, Connections: 4}
	ours, bare, err := l.againstBare(ctx, "batch of 1,000 subjects", "edge", edge, j)
	if err != nil {
		return nil, err
	}
	f := costs("", ours, bare, atMost(1))
	// Seconds for a million requests are microseconds for one.
	f.value, f.reference, f.unit = f.value/batched, f.reference/batched, "CPU µs a subject"

	l.progress.step("memory of the largest batches")
	j.IDs, j.Connections = largestBatch, 16
	before, err := residentMemory(edge.pid())
	if err != nil {
		return nil, err
	}
	if err := resetPeak(edge.pid()); err != nil {
		return nil, err
	}
	o, err := l.load(ctx, target{"edge", edge, j})
	if err != nil {
		return nil, err
	}
	after, err := residentMemory(edge.pid())
	if err != nil {
		return nil, err
	}
	peak := float64(after.Peak-before.Now) / float64(j.Connections) / (1 << 20)
	return []figure{f, {label: "peak of 16 batches of 10,000", value: peak, unit: "MiB a request", limit: atMost(1).counted(), errors: o.Errors, remark: o.Error}}, nil
}

func (l *lab) measureOFREP(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	one := ofrepOf(d.subjects)
	one.Path += "/" + featureName(0)
	var figures []figure
	for _, kind := range []struct {
		label string
		job   job
	}{{"all flags", ofrepOf(d.subjects)}, {"one flag", one}} {
		ours, bare, err := l.againstBare(ctx, "OFREP, "+kind.label, "edge", edge, kind.job)
		if err != nil {
			return nil, err
		}
		figures = append(figures, costs(kind.label, ours, bare, atMostTimes(1)))
	}
	return figures, nil
}

func ofrepOf(subjects int) job {
	return job{Method: "POST", Path: "/ofrep/v1/evaluate/flags", Body: `{"context":{"targetingKey":"{id}"}}`, Subjects: subjects}
}

// measureChanging puts an edge under a steady load, quiet and during changes.
func (l *lab) measureChanging(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	chart := chart{file: "changes", title: "CPU per request, by rate of change",
		x: "changes a second", y: "CPU seconds per million requests", lines: []line{{name: "edge"}}}
	rates := l.size.changeRates
	turns := make([]samples, len(rates))
	made := make([][]float64, len(rates)) // changes a second, as they came out
	for round := range l.size.rounds {
		for i, rate := range rates {
			l.progress.step(fmt.Sprintf("constant change: %d a second, round %d of %d", rate, round+1, l.size.rounds))
			stop := w.keepChanging(ctx, rate)
			// A load below the limit of the processors: at the limit, a queue would
			// be measured and not the edge.
			j := flagsOf(d.subjects)
			j.Rate, j.Duration = steadyRate, max(l.size.round, time.Second)
			o, err := l.load(ctx, target{"edge", edge, j})
			perSecond, failed := stop()
			if err = cmp.Or(err, failed); err != nil {
				return nil, err
			}
			turns[i] = samples{fmt.Sprintf("%d changes a second", rate), "edge", append(turns[i].turns, o)}
			made[i] = append(made[i], perSecond)
		}
	}
	for i, rate := range rates {
		chart.add(count(rate), turns[i].median(cpu))
	}
	l.charts = append(l.charts, chart)
	l.requests = append(l.requests, turns...)
	quiet, last := turns[0], len(rates)-1
	f := figure{label: fmt.Sprintf("%.0f writes/s, %s requests/s", median(made[last]), number(steadyRate)),
		value: turns[last].median(p99), unit: "ms p99", reference: quiet.median(p99), against: "quiet",
		ratio: turns[last].against(quiet, p99), limit: atMostTimes(2)}
	f.errors, f.remark = turns[last].errors()
	if median(made[last]) < float64(rates[last])*(1-noise) {
		return nil, fmt.Errorf("only %.0f writes a second came about, of %d", median(made[last]), rates[last])
	}
	return []figure{f}, nil
}

// steadyRate is a load in requests a second that is well below the limit.
const steadyRate = 5000
