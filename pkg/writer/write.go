package writer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// change is one write under way. A use case reads, checks and writes through its
// transaction, and notes for the audit what it did: one that notes nothing
// changed nothing, and makes no revision.
type change struct {
	*postgres.Tx
	options
	kind     kind
	version  int64 // of the resource after the change
	advanced bool  // whether the next revision is taken
	audit    []postgres.AuditRow
	touched  []touched
}

// kind says what a use case changes: no one changes both. It decides what edges
// reread and how a dry run counts.
type kind int

const (
	configuration kind = iota // buckets, features, tests, groups, overrides
	subjects                  // and their memberships
)

// Actions in the audit.
const (
	created = "create"
	updated = "update"
	deleted = "delete"
	stopped = "stop"
	loaded  = "import"
)

// errDiscard ends a transaction that is not to be kept, without being a failure.
var errDiscard = errors.New("nothing to keep")

// write is what every use case goes through: one transaction with the next
// revision, its audit and the bell, or none of it. body may run more than once.
func write[T any](ctx context.Context, w *Writer, kind kind, opts []Option, body func(c *change) (T, error)) (Result[T], error) {
	if w.within != nil {
		value, err := body(w.within)
		return Result[T]{Value: value}, err
	}
	return writeIn(ctx, w, w.db.Write, true, kind, opts, body)
}

// writeIn is write in a transaction that may take the next revision late: where
// it is not advanced from the start, body does that when it has something to
// store.
func writeIn[T any](ctx context.Context, w *Writer, transaction func(context.Context, func(*postgres.Tx) error) error, advanced bool,
	kind kind, opts []Option, body func(c *change) (T, error),
) (Result[T], error) {
	var (
		result Result[T]
		c      *change
		dry    dryRun
	)
	err := transaction(ctx, func(tx *postgres.Tx) (err error) {
		c = newChange(tx, kind, opts)
		c.advanced = advanced
		if c.dryRun {
			if err := dry.before(ctx, c); err != nil {
				return err
			}
		}
		if result.Value, err = body(c); err != nil {
			return err
		}
		result.Revision, result.Version, result.DryRun = tx.Revision, c.version, c.dryRun
		if len(c.audit) > 0 && !c.dryRun {
			return tx.Record(ctx, kind == configuration, kind == subjects, c.audit)
		}
		if c.advanced {
			result.Revision--
		}
		if c.dryRun {
			if err := dry.after(ctx, c); err != nil {
				return err
			}
		}
		return errDiscard
	})
	if errors.Is(err, errDiscard) {
		err = nil
	}
	if err == nil && c.dryRun {
		result.Affected, err = dry.affected(ctx, w, c)
	}
	if err != nil {
		return Result[T]{}, err
	}
	return result, nil
}

func newChange(tx *postgres.Tx, kind kind, opts []Option) *change {
	c := &change{Tx: tx, kind: kind, options: options{actor: "library"}}
	for _, option := range opts {
		option(&c.options)
	}
	return c
}

// part is a Writer whose writes are parts of c: they end with it, and have no
// options of their own.
func (w *Writer) part(c *change) *Writer {
	c.ifMatch = nil
	return &Writer{db: w.db, log: w.log, newSalt: w.newSalt, within: c}
}

// advance takes the next revision, where that is not done yet.
func (c *change) advance(ctx context.Context, w *Writer) error {
	c.advanced = true
	return w.db.Advance(ctx, c.Tx)
}

// match refuses the write where the caller saw another version of the resource
// than there is; 0 is a resource that is not there or has no version.
func (c *change) match(version int64) error {
	c.version = version
	if c.ifMatch != nil && *c.ifMatch != version {
		return model.Errorf(model.PreconditionFailed,
			"the resource changed: it is at version %d, the condition names %d. Read it again and decide anew", version, *c.ifMatch)
	}
	return nil
}

// note adds a row to the audit. resource is its path in the HTTP contract;
// before and after are its forms there, nil for none.
func (c *change) note(action, resource string, before, after any) error {
	row := postgres.AuditRow{Actor: c.actor, Action: action, Resource: resource, Comment: c.comment, RequestID: c.requestID}
	for _, side := range []struct {
		value any
		text  *string
	}{{before, &row.Before}, {after, &row.After}} {
		if side.value == nil {
			continue
		}
		text, err := json.Marshal(side.value)
		if err != nil {
			return fmt.Errorf("note %s in the audit: %w", resource, err)
		}
		*side.text = string(text)
	}
	c.audit = append(c.audit, row)
	return nil
}

// read is what every use case goes through that only reads.
func read[T any](ctx context.Context, w *Writer, body func(tx *postgres.Tx) (value T, version int64, err error)) (Result[T], error) {
	var result Result[T]
	err := w.db.Read(ctx, func(tx *postgres.Tx) (err error) {
		result.Revision = tx.Revision
		result.Value, result.Version, err = body(tx)
		return err
	})
	if err != nil {
		return Result[T]{}, err
	}
	return result, nil
}

// Limits of a page of a list.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// list reads a page: one item more than asked for tells whether there is a next
// one.
func list[S, T any](ctx context.Context, w *Writer, page Page, key func(T) string,
	items func(tx *postgres.Tx, limit int) ([]S, error), form func(tx *postgres.Tx, items []S) ([]T, error),
) (Result[api.Page[T]], error) {
	var f model.Faults
	if page.Limit == 0 {
		page.Limit = defaultLimit
	}
	if page.Limit < 1 || page.Limit > maxLimit {
		f.Addf("query.limit", "must be between 1 and %d, is %d", maxLimit, page.Limit)
	}
	if page.After != "" {
		f.Check("query.after", model.CheckSubjectID(page.After)) // every key fits it
	}
	if err := f.Err(); err != nil {
		return Result[api.Page[T]]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (p api.Page[T], _ int64, err error) {
		found, err := items(tx, page.Limit+1)
		if err != nil {
			return p, 0, err
		}
		more := len(found) > page.Limit
		found = found[:min(len(found), page.Limit)]
		if p.Items, err = form(tx, found); err != nil {
			return p, 0, err
		}
		if p.Items == nil {
			p.Items = []T{}
		}
		if more {
			p.Next = key(p.Items[len(p.Items)-1])
		}
		return p, 0, nil
	})
}

// checkPath is an error where a part of the path is at fault.
func checkPath(parameter string, err error) error {
	var f model.Faults
	f.Check("path."+parameter, err)
	return f.Err()
}

// clean makes text from a header fit for storing.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
