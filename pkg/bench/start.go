package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// measureStart times edges from their start as a process until they are ready. The
// reference reads the rows in the usual way and builds nothing.
func (l *lab) measureStart(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, subjects := range []int{l.size.subjects, l.size.many} {
		if subjects < 1_000_000 {
			continue // this would measure the start of the process, not loading
		}
		d := dataset{subjects: subjects, features: standardFeatures}
		var ours, bare []float64
		for round := range 3 {
			l.progress.step(fmt.Sprintf("start with %s subjects, round %d of 3", count(subjects), round+1))
			rows, err := l.readRows(ctx, d)
			if err != nil {
				return nil, err
			}
			edge, err := l.startEdge(ctx, d)
			if err != nil {
				return nil, err
			}
			edge.stop()
			bare = append(bare, rows)
			ours = append(ours, float64(subjects)/edge.ran.Seconds())
		}
		figures = append(figures, figure{label: count(subjects) + " subjects", value: median(ours), unit: "subjects/s",
			reference: median(bare), against: "rows into structs", ratio: ratio(ours, bare), limit: atLeast(1_000_000)})
	}
	return figures, nil
}

// readRows is how many subjects a second database/sql reads into structs.
func (l *lab) readRows(ctx context.Context, d dataset) (float64, error) {
	url, err := l.database(ctx, d)
	if err != nil {
		return 0, err
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return 0, err
	}
	type subject struct {
		id     string
		bucket int32
	}
	start := time.Now()
	rows, err := db.QueryContext(ctx, `SELECT id, bucket_id FROM subject`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var all []subject
	for rows.Next() {
		var s subject
		if err := rows.Scan(&s.id, &s.bucket); err != nil {
			return 0, err
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if len(all) != d.subjects {
		return 0, fmt.Errorf("read %d subjects of %d", len(all), d.subjects)
	}
	return float64(len(all)) / time.Since(start).Seconds(), nil
}

func (l *lab) measureFile(ctx context.Context) ([]figure, error) {
	var rates []float64
	for round := range 3 {
		l.progress.step(fmt.Sprintf("snapshot file of %s subjects, round %d of 3", count(l.size.many), round+1))
		found, err := callSelf[probed](ctx, "probe", probe{Subjects: l.size.many, File: true})
		if err != nil {
			return nil, err
		}
		rates = append(rates, float64(l.size.many)/found.Read.Seconds())
	}
	return []figure{{label: count(l.size.many) + " subjects", value: median(rates), unit: "subjects/s", limit: atLeast(10_000_000)}}, nil
}
