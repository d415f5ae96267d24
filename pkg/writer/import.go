package writer

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

const (
	maxBadLines   = 100
	progressEvery = 5 * time.Second
)

// ImportSubjects creates new subjects, the heaviest first, and updates existing ones: a
// given weight replaces theirs, and they join the named groups. They leave other groups
// only with [ReplaceGroups]. A new subject without a weight gets 1. [DeleteAbsent]
// deletes the subjects that no line has.
//
// It is all or nothing for any number of lines. An error from lines ends it, unless its
// code is validation_failed: that is a bad line, as is a line with an invalid id or
// weight, an unknown group, or the id of an earlier line. With bad lines it fails with
// validation_failed and names the first 100 by their numbers. It also fails with
// no_buckets, with group_not_found if a named group is deleted during the import, and
// with validation_failed if the number of deleted subjects is not that of
// [ExpectDeleted].
//
// Memory does not grow with the number of lines, and only writes of the same subjects
// wait for it. At most four imports run at a time; another one waits for up to 5 seconds
// and then fails as a service that is not ready.
func (w *Writer) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...Option) (Result[api.Imported], error) {
	done, err := w.imports.take(ctx)
	if err != nil {
		return Result[api.Imported]{}, err
	}
	defer done()
	staged := &staging{progress: newProgress(ctx, w.log), named: map[model.GroupID]bool{}}
	err = w.db.Read(ctx, func(tx *postgres.Tx) (err error) {
		staged.groups, err = tx.GroupIDs(ctx)
		return err
	})
	if err != nil {
		return Result[api.Imported]{}, err
	}
	rows, err := w.db.OpenImport(ctx)
	if err != nil {
		return Result[api.Imported]{}, err
	}
	defer rows.Close()
	if err := staged.load(ctx, rows, lines); err != nil {
		return Result[api.Imported]{}, err
	}
	opts = slices.Concat(opts, []Option{importOf(rows)})
	return write(ctx, w, subjects, opts, func(c *change) (api.Imported, error) {
		if err := c.match(unversioned); err != nil {
			return api.Imported{}, err
		}
		i := importing{
			change: c, staging: staged, rows: rows, since: c.tx.Revision,
			buckets: map[model.BucketID]postgres.BucketChange{}, members: map[model.GroupID]int64{},
		}
		return i.run(ctx)
	})
}

// staging checks lines one by one on their way to the database.
type staging struct {
	*progress
	groups map[string]model.GroupID
	named  map[model.GroupID]bool
	lines  int64
	bad    model.Faults
}

func (s *staging) load(ctx context.Context, rows *postgres.Import, lines iter.Seq2[api.ImportLine, error]) error {
	if err := rows.Stage(ctx, s.rows(lines)); err != nil {
		return err
	}
	duplicates, err := rows.Index(ctx, maxBadLines)
	for _, d := range duplicates {
		s.bad.Addf(fmt.Sprintf("line %d", d.Line), "subject %q is on line %d already", d.ID, d.First)
	}
	if err != nil {
		return err
	}
	return s.failure()
}

// rows yields the lines as rows. After the first bad line it only checks for more bad
// lines, and fails at the end.
func (s *staging) rows(lines iter.Seq2[api.ImportLine, error]) iter.Seq2[postgres.ImportRow, error] {
	return func(yield func(postgres.ImportRow, error) bool) {
		for line, err := range lines {
			s.lines++
			if line.Number == 0 {
				line.Number = s.lines
			}
			s.report("lines read", s.lines)
			row, fault := s.row(line, err)
			if err != nil && fault == nil {
				yield(row, err)
				return
			}
			if fault != nil {
				s.bad = append(s.bad, *fault)
			}
			if len(s.bad) == maxBadLines {
				break
			}
			if len(s.bad) == 0 && !yield(row, nil) {
				return
			}
		}
		if err := s.failure(); err != nil {
			yield(postgres.ImportRow{}, err)
		}
	}
}

func (s *staging) failure() error {
	if len(s.bad) == 0 {
		return nil
	}
	return &model.Error{Code: model.ValidationFailed, Detail: "nothing was imported, as some lines are invalid", Fields: s.bad}
}

// row checks a line. All its errors are one fault.
func (s *staging) row(line api.ImportLine, err error) (row postgres.ImportRow, fault *model.FieldError) {
	row = postgres.ImportRow{Line: line.Number, ID: line.ID, Weight: postgres.NoWeight}
	var wrong []string
	check := func(what string, err error) {
		if err != nil {
			wrong = append(wrong, what+err.Error())
		}
	}
	switch {
	case model.CodeOf(err) == model.ValidationFailed:
		check("", err)
	case err != nil:
		return row, nil
	default:
		check("id ", model.CheckSubjectID(line.ID))
		if line.Weight != nil {
			row.Weight = *line.Weight
			check("weight ", model.CheckWeight(row.Weight))
		}
		if line.Groups != nil {
			row.Groups = []model.GroupID{}
		}
		for _, name := range line.Groups {
			id, ok := s.groups[name]
			if !ok {
				check("", fmt.Errorf("there is no group %q", name))
			} else if !slices.Contains(row.Groups, id) {
				row.Groups = append(row.Groups, id)
				s.named[id] = true
			}
		}
	}
	if len(wrong) > 0 {
		fault = &model.FieldError{Location: fmt.Sprintf("line %d", line.Number), Message: strings.Join(wrong, "; ")}
	}
	return row, fault
}

// importing is one attempt to write the staged lines.
type importing struct {
	*change
	*staging
	rows    *postgres.Import
	since   int64 // the revision up to which the import has caught up with others
	buckets map[model.BucketID]postgres.BucketChange
	members map[model.GroupID]int64
	result  api.Imported
}

// run does most of the work while others write, and catches up with their changes. Then
// it locks other writers out and catches up with the few changes that are left.
func (i *importing) run(ctx context.Context) (api.Imported, error) {
	if err := i.apply(ctx, postgres.All); err != nil {
		return i.result, err
	}
	if !i.dryRun && i.result != (api.Imported{}) {
		if err := i.commit(ctx); err != nil {
			return i.result, err
		}
	}
	changed := i.result.Created+i.result.Updated+i.result.Deleted > 0
	i.result.Unchanged = i.lines - i.result.Created - i.result.Updated
	if !changed {
		return i.result, nil
	}
	if i.dryRun {
		err := i.rows.Moved(ctx, i.tx, func(before, after *model.Class, subjects, weight int64) {
			i.classChanges = append(i.classChanges, classChange{"", before, after, subjects, weight})
		})
		if err != nil {
			return i.result, err
		}
	}
	return i.result, i.note(imported, subjectsResource.of(), nil, i.result)
}

func (i *importing) commit(ctx context.Context) error {
	if i.writer.beforeCommit != nil {
		i.writer.beforeCommit()
	}
	if err := i.catchUp(ctx); err != nil {
		return err
	}
	if err := i.writer.db.Advance(ctx, i.tx); err != nil {
		return err
	}
	if err := i.catchUp(ctx); err != nil {
		return err
	}
	return i.rows.Settle(ctx, i.tx, slices.Collect(maps.Values(i.buckets)), i.members, slices.Collect(maps.Keys(i.named)))
}

func (i *importing) catchUp(ctx context.Context) error {
	lines, upTo, err := i.rows.CatchUp(ctx, i.tx, i.since)
	if err != nil {
		return err
	}
	if upTo > i.since && (lines > 0 || i.deleteAbsent) {
		err = i.apply(ctx, postgres.Again)
	}
	i.since = upTo
	return err
}

// apply updates subjects and memberships by the lines. Sums are updated by commit.
func (i *importing) apply(ctx context.Context, lines postgres.Lines) error {
	note := func(c postgres.BucketChange) {
		sum := i.buckets[c.ID]
		i.buckets[c.ID] = postgres.BucketChange{ID: c.ID, Subjects: sum.Subjects + c.Subjects, Weight: sum.Weight + c.Weight}
	}
	members := func(group model.GroupID, n int64) { i.members[group] += n }
	if err := i.delete(ctx, lines, note, members); err != nil {
		return err
	}
	updated, err := i.rows.Update(ctx, i.tx, lines, i.replaceGroups, i.dryRun, note)
	if err != nil {
		return err
	}
	i.result.Updated += updated
	buckets, err := i.tx.Buckets(ctx)
	if err != nil {
		return err
	}
	for j := range buckets {
		buckets[j].Weight += i.buckets[buckets[j].ID].Weight
	}
	placer, placed := bucketing.NewPlacer(buckets), int64(0)
	created, err := i.rows.Place(ctx, i.tx, lines, func(weight int64) model.BucketID {
		placed++
		i.report("subjects placed", placed)
		return placer.Place(weight)
	}, note)
	if err != nil {
		return err
	}
	i.result.Created += created
	if i.replaceGroups {
		if err := i.rows.Leave(ctx, i.tx, lines, members); err != nil {
			return err
		}
	}
	if len(i.named) == 0 {
		return nil
	}
	return i.rows.Join(ctx, i.tx, lines, members)
}

// delete deletes the subjects that no line has. Fails with validation_failed if their
// number is not the expected one.
func (i *importing) delete(ctx context.Context, lines postgres.Lines, note func(postgres.BucketChange), members func(model.GroupID, int64)) error {
	var found int64
	if i.deleteAbsent {
		var err error
		if found, err = i.rows.FindAbsent(ctx, i.tx, lines, i.since, i.dryRun); err != nil {
			return err
		}
		i.result.Deleted += found
	}
	if err := i.checkDeleted(); err != nil || found == 0 {
		return err
	}
	return i.rows.DeleteAbsent(ctx, i.tx, note, members)
}

func (i *importing) checkDeleted() error {
	deleted, given := i.result.Deleted, "is missing"
	switch {
	case i.expectDeleted != nil && *i.expectDeleted == deleted,
		i.expectDeleted == nil && (i.dryRun || !i.deleteAbsent):
		return nil
	case i.expectDeleted != nil:
		given = fmt.Sprintf("is %d", *i.expectDeleted)
	}
	return &model.Error{Code: model.ValidationFailed, Detail: "nothing was imported", Fields: []model.FieldError{{
		Location: "query.expect_deleted",
		Message:  fmt.Sprintf("must be %d, as the import would delete %[1]d subjects, %s", deleted, given),
	}}}
}

// progress logs the progress of an import every few seconds.
type progress struct {
	ctx  context.Context
	log  *slog.Logger
	next time.Time
}

func newProgress(ctx context.Context, log *slog.Logger) *progress {
	return &progress{ctx, log, time.Now().Add(progressEvery)}
}

func (p *progress) report(what string, n int64) {
	if n%1024 == 0 && time.Now().After(p.next) {
		p.log.InfoContext(p.ctx, "import in progress", what, n)
		p.next = time.Now().Add(progressEvery)
	}
}
