package writer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// change is one write in progress. Its methods are the use cases: they check and write
// through its transaction, and add their changes to the audit. If they add none, nothing
// changed, and there is no new revision.
type change struct {
	settings
	writer       *Writer
	tx           *postgres.Tx
	kind         kind
	version      int64 // of the resource before the change, see match
	audit        []postgres.AuditRow
	resources    []resource // those in the audit rows
	features     []string   // likewise, with those that tests and groups name
	grows        bool       // names, texts or payloads may be longer after it
	classChanges []classChange
	overlapsLast bool           // tests may overlap until all of them are changed, as two may swap their periods
	moved        []string       // the tests that refuseOverlaps checks then
	drawn        bool           // it includes a random choice
	buckets      []model.Bucket // see allBuckets
}

// allBuckets reads all buckets, once: while a change of features, tests or groups is in
// progress, nothing changes them.
func (c *change) allBuckets(ctx context.Context) (_ []model.Bucket, err error) {
	if c.buckets == nil {
		c.buckets, err = c.tx.Buckets(ctx)
	}
	return c.buckets, err
}

// kind is the kind of data that a use case changes; none changes two kinds. It decides
// which data edges read again and how a dry run counts.
type kind = postgres.Kind

const (
	configuration = postgres.OfConfiguration // buckets, features, tests, groups, overrides
	tokens        = postgres.OfTokens
	subjects      = postgres.OfSubjects // and their memberships
)

// Actions in the audit.
const (
	created   = "create"
	updated   = "update"
	deleted   = "delete"
	stopped   = "stop"
	archived  = "archive"
	restored  = "restore"
	imported  = "import"
	forgotten = "forget"
	recorded  = "record" // an ended test's references to a deleted feature
)

// errDiscard rolls a transaction back, without being a failure.
var errDiscard = errors.New("nothing to keep")

// write runs body as one change: a transaction with the next revision, its audit rows and
// the notification, all or nothing. body may run more than once.
func write[T any](ctx context.Context, w *Writer, kind kind, opts []Option, body func(c *change) (T, error)) (Result[T], error) {
	s := newSettings(opts)
	transaction := w.db.Write
	switch {
	case s.rows != nil:
		transaction = s.rows.Write
	case s.dryRun:
		transaction = w.db.DryRun
	}
	var before int64 // the revision that body finds
	result := Result[T]{DryRun: s.dryRun}
	err := transaction(ctx, func(tx *postgres.Tx) (err error) {
		c := &change{settings: s, writer: w, tx: tx, kind: kind}
		if before = tx.Revision; s.rows == nil {
			before-- // the transaction has the next one
		}
		do := func() (err error) {
			if result.Value, err = body(c); err != nil {
				return c.nameChange(ctx, err)
			}
			return c.checkSize(ctx)
		}
		if s.dryRun {
			result.Effect, err = c.try(ctx, do)
			result.Drawn, result.Removes = c.drawn, c.removes()
		} else {
			err = do()
		}
		if err != nil {
			return err
		}
		result.Revision, result.Version = tx.Revision, c.newVersion()
		if len(c.audit) > 0 && !s.dryRun {
			if err := c.checkScope(); err != nil {
				return err
			}
			if err := checkToken(ctx, tx, s.whileValid); err != nil {
				return err
			}
			return tx.Record(ctx, kind, c.audit)
		}
		result.Revision = before
		return errDiscard
	})
	if errors.Is(err, errDiscard) {
		err = nil
	}
	if err != nil {
		return Result[T]{Revision: before}, err
	}
	return result, nil
}

// checkScope fails with forbidden if the change is not within the scope of the caller's
// token. It goes by the audit, so it covers every use case.
func (c *change) checkScope() error {
	if len(c.scope) == 0 {
		return nil
	}
	outside := func(what string) error {
		return model.Errorf(model.Forbidden, "the scope of the token (%s) does not include %s", c.scope, what)
	}
	names := slices.Sorted(slices.Values(c.features))
	for _, r := range c.resources {
		if !r.kind.inScope() {
			return outside(r.String())
		}
		names = append(names, r.names[0])
	}
	for _, name := range names {
		if !c.scope.Includes(name) {
			return outside(strconv.Quote(name))
		}
	}
	return nil
}

// checkSize rejects a change by which the configuration grows beyond the limit for edges.
// One that exceeds it already may shrink step by step.
func (c *change) checkSize(ctx context.Context) error {
	if !c.grows {
		return nil
	}
	size, err := c.tx.ConfigurationSize(ctx)
	if err != nil || size <= model.MaxConfigurationSize {
		return err
	}
	var before int64 // as another transaction sees it
	err = c.writer.db.Read(ctx, func(tx *postgres.Tx) (err error) {
		before, err = tx.ConfigurationSize(ctx)
		return err
	})
	if err != nil || size <= before {
		return err
	}
	return model.Errorf(model.ValidationFailed,
		"the names, texts and payloads of the configuration must have at most %d bytes together, would have %d: remove unused features, tests or groups", model.MaxConfigurationSize, size)
}

// Versions of resources that have none.
const (
	absent      = 0  // it does not exist yet
	unversioned = -1 // it never has a version
)

// match fails with precondition_failed if IfMatch does not name the resource's version.
// Each write calls it once, before it changes anything.
func (c *change) match(version int64) error {
	c.version = version
	version = max(version, absent)
	if c.ifMatch != nil && !slices.Contains(c.ifMatch, version) {
		err := model.Errorf(model.PreconditionFailed, "the resource changed, it is at version %d: read it again", version)
		err.Current = api.ETag(version)
		return err
	}
	return nil
}

// nameChange adds to precondition_failed the change that made the current version.
func (c *change) nameChange(ctx context.Context, err error) error {
	var refused *model.Error
	if !errors.As(err, &refused) || refused.Code != model.PreconditionFailed || c.version <= absent {
		return err
	}
	changed, lookup := c.tx.Changed(ctx, c.version, c.kind == subjects)
	if lookup != nil {
		return lookup
	}
	refused.Changed = changed
	return err
}

// removes returns the paths that the change deletes and does not add again, as in the
// audit. Of subjects in bulk there are none: they are the caller's list.
func (c *change) removes() (paths []string) {
	for i, row := range c.audit {
		switch {
		case c.resources[i].kind == subjectsResource, c.resources[i].kind == membersResource:
		case row.Action == deleted:
			paths = append(paths, row.Resource)
		case row.Action == created:
			paths = slices.DeleteFunc(paths, func(path string) bool { return path == row.Resource })
		}
	}
	return paths
}

// newVersion is the version of the resource after the change.
func (c *change) newVersion() int64 {
	switch {
	case c.version == unversioned:
		return 0
	case len(c.audit) == 0:
		return c.version
	case c.kind == subjects:
		return c.tx.Label
	default:
		return c.tx.Revision
	}
}

// drawSalt draws the salt of a new rollout or test.
func (c *change) drawSalt() model.Salt {
	c.drawn = true
	return c.writer.newSalt()
}

// note adds a row to the audit. before and after are the resource in the form of the HTTP
// contract, nil for none.
func (c *change) note(action string, r resource, before, after any) error {
	c.grows = c.grows || action != deleted && r.kind.hasTexts()
	c.resources = append(c.resources, r)
	c.changesFeatures(r, before, after)
	row := postgres.AuditRow{Actor: c.actor, Action: action, Resource: r.String(), Comment: c.comment, RequestID: c.requestID, Token: c.token}
	for _, side := range []struct {
		value any
		text  *string
	}{{before, &row.Before}, {after, &row.After}} {
		if side.value == nil {
			continue
		}
		text, err := model.EncodeJSON(side.value)
		if err != nil {
			return fmt.Errorf("note %s in the audit: %w", r, err)
		}
		*side.text = string(text)
	}
	c.audit = append(c.audit, row)
	return nil
}

// errOvertaken is why a read starts again, as what it needs is known of a later revision.
var errOvertaken = errors.New("there is a later revision")

// read runs body on one consistent state of the database.
func read[T any](ctx context.Context, w *Writer, body func(tx *postgres.Tx) (value T, version int64, err error)) (Result[T], error) {
	var result Result[T]
	err := errOvertaken
	for errors.Is(err, errOvertaken) {
		err = w.db.Read(ctx, func(tx *postgres.Tx) (err error) {
			result.Revision = tx.Revision
			result.Value, result.Version, err = body(tx)
			return err
		})
	}
	if err != nil {
		return Result[T]{Revision: result.Revision}, err
	}
	return result, nil
}

// Limits of a page of a list.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// maxPage is the largest size of a page's items in bytes of JSON. A single item may be
// larger.
const maxPage = 4 << 20

// list reads a page. items yields one more item than the limit, if there is a next page.
func list[S, T any](ctx context.Context, w *Writer, page Page, key func(S) string,
	items func(tx *postgres.Tx, limit int) iter.Seq2[S, error], form func(tx *postgres.Tx) (func(S) T, error),
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
		formed, err := form(tx)
		if err != nil {
			return p, 0, err
		}
		p.Items = []T{}
		last, bytes := "", 0
		for found, err := range items(tx, page.Limit+1) {
			if err != nil {
				return p, 0, err
			}
			item := formed(found)
			bytes += sizeOf(item)
			if len(p.Items) == page.Limit || len(p.Items) > 0 && bytes > maxPage {
				p.Next = last
				break
			}
			p.Items, last = append(p.Items, item), key(found)
		}
		return p, 0, nil
	})
}

// sizeOf is the length of an item's JSON.
func sizeOf(item any) int {
	text, _ := model.EncodeJSON(item) // every form has one
	return len(text)
}

// each forms items by themselves.
func each[S, T any](form func(S) T) func(*postgres.Tx) (func(S) T, error) {
	return func(*postgres.Tx) (func(S) T, error) { return form, nil }
}

// all yields items that were read at once, as they are small.
func all[S any](items []S, err error) iter.Seq2[S, error] {
	return func(yield func(S, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none S
			yield(none, err)
		}
	}
}

// sequence yields the items of read, and its error last.
func sequence[T any](read func(yield func(T, error) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := read(yield); err != nil {
			var none T
			yield(none, err)
		}
	}
}

// checkPath is an error if a part of the path is invalid.
func checkPath(parameter string, err error) error {
	var f model.Faults
	f.Check("path."+parameter, err)
	return f.Err()
}

// clean replaces the characters in a header that PostgreSQL does not store.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
