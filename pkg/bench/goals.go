package main

import "context"

// goal is one performance goal: a row of docs/benchmarks.md, or several if it has
// more than one figure.
type goal struct {
	name    string // for -only
	what    string
	measure func(l *lab, ctx context.Context) ([]figure, error)
}

// goals in the order of the table.
var goals = []goal{
	{"get", "`GET /v1/subject/flags`", (*lab).measureGet},
	{"conditional", "the same, with `If-None-Match`", (*lab).measureConditional},
	{"features", "growth with features", (*lab).measureFeatures},
	{"subjects", "growth with subjects", (*lab).measureSubjects},
	{"batch", "batch of 1,000 subjects, answer included", (*lab).measureBatch},
	{"ofrep", "OFREP, 20 flags", (*lab).measureOFREP},
	{"lookup", "resolution in process: id → body", (*lab).measureLookup},
	{"memory", "memory of the subjects", (*lab).measureMemory},
	{"peak", "memory while something is applied", (*lab).measurePeak},
	{"start", "snapshot load from PostgreSQL, start to ready", (*lab).measureStart},
	{"file", "start from a snapshot file", (*lab).measureFile},
	{"arrival", "one change: commit → first right answer", (*lab).measureArrival},
	{"fleet", "many edges on one PostgreSQL, all serving a change", (*lab).measureFleet},
	{"import", "bulk import", (*lab).measureImport},
	{"writes", "single admin writes", (*lab).measureWrites},
	{"past", "`GET /v1/subjects/{id}/explain` of the past", (*lab).measurePast},
	{"console", "what a page of the console asks, 10 M subjects", (*lab).measureConsole},
	{"slider", "a dry run of a rollout, as a slider moves", (*lab).measureSlider},
	{"changing", "requests during constant change", (*lab).measureChanging},
}
