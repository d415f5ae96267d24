package flaggery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flaggery/flaggery/pkg/api"
)

// Flags is what one subject gets. The zero value has every feature off.
type Flags struct {
	variants map[string]string // shared with the cache
	// Revision that they are of.
	Revision int64
	// Age is how long ago the edge was last in sync with its database, if it is
	// cut off from it.
	Age time.Duration
	// Stale says that no edge could be reached, and that this is what the last one
	// said.
	Stale bool
}

// Variant is what a feature resolves to, or "" if that is nothing.
func (f Flags) Variant(feature string) string { return f.variants[feature] }

// Enabled says whether a feature resolves to anything but the disabling
// variant.
func (f Flags) Enabled(feature string) bool {
	variant := f.variants[feature]
	return variant != "" && variant != api.DisablingVariant
}

// All yields feature and variant, in no order.
func (f Flags) All() iter.Seq2[string, string] { return maps.All(f.variants) }

// FlagsOption changes how flags are read.
type FlagsOption func(*flagsOptions)

type flagsOptions struct {
	minRevision int64
	wait        time.Duration
	features    string
}

// MinRevision reads flags that are at least of this revision: the edge waits for
// it, at most so long, and answers not_ready if it does not come.
func MinRevision(revision int64, atMost time.Duration) FlagsOption {
	return func(o *flagsOptions) { o.minRevision, o.wait = revision, atMost }
}

// Only reads these features alone.
func Only(features ...string) FlagsOption {
	return func(o *flagsOptions) { o.features = strings.Join(features, ",") }
}

// Flags reads what a subject gets. Fails with subject_not_found, not_ready, and
// if no edge can be reached; but with a [Cache], the last answer is given instead,
// marked Stale.
func (e *Edge) Flags(ctx context.Context, id string, opts ...FlagsOption) (Flags, error) {
	var o flagsOptions
	for _, option := range opts {
		option(&o)
	}
	key := cacheKey{id, o.features}
	kept, ok := e.cache.get(key)
	ok = ok && kept.Revision >= o.minRevision
	if ok && time.Now().Before(kept.until) {
		return kept.Flags, nil
	}
	r := request{method: http.MethodGet, path: at("subject", "flags"), query: url.Values{"subject_id": {id}}, header: http.Header{}, wait: o.wait}
	if o.features != "" {
		r.query.Set("features", o.features)
	}
	if o.minRevision > 0 {
		r.query.Set("min_revision", strconv.FormatInt(o.minRevision, 10))
		r.query.Set("wait", o.wait.String())
	}
	if ok && kept.etag != "" {
		r.header.Set("If-None-Match", kept.etag)
	}
	r.retry = !ok // an old answer now is better than a new one later
	a, err := e.do(ctx, r)
	if err != nil {
		if !ok || !unreachable(err) {
			return Flags{}, err
		}
		kept.Stale = true
		e.cache.put(key, kept.Flags, kept.etag) // an outage costs an attempt a while, not one a call
		return kept.Flags, nil
	}
	flags := Flags{Revision: a.receipt().Revision, Age: age(a.header)}
	if a.status == http.StatusNotModified {
		flags.variants = kept.variants
	} else {
		var body api.Flags
		if err := decode(a.body, &body); err != nil {
			return Flags{}, err
		}
		flags.variants = body.Flags
	}
	e.cache.put(key, flags, a.header.Get("ETag"))
	return flags, nil
}

// unreachable is true for a failure of the edge, or on the way to it, and false for
// an answer to the question.
func unreachable(err error) bool {
	var problem *api.Problem
	return !errors.As(err, &problem) || problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests
}

func age(h http.Header) time.Duration {
	seconds, _ := strconv.ParseFloat(h.Get(api.HeaderSnapshotAge), 64)
	return time.Duration(seconds * float64(time.Second))
}

// BatchFlags reads what many subjects get, at most 10,000, all of one revision:
// flags by id, and the ids that no subject has. Fails with not_ready.
func (e *Edge) BatchFlags(ctx context.Context, ids []string) (flags map[string]Flags, unknown []string, err error) {
	r := request{method: http.MethodPost, path: at("subjects", "flags"), retry: true}
	if r.body, err = json.Marshal(api.BatchFlagsRequest{SubjectIDs: ids}); err != nil {
		return nil, nil, fmt.Errorf("encode the request: %w", err)
	}
	a, err := e.do(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	var body api.BatchFlags
	if err := decode(a.body, &body); err != nil {
		return nil, nil, err
	}
	flags = make(map[string]Flags, len(body.Flags))
	for id, variants := range body.Flags {
		flags[id] = Flags{variants: variants, Revision: a.receipt().Revision, Age: age(a.header)}
	}
	return flags, body.Unknown, nil
}

// cache keeps answers beyond the time for which they hold unasked: their ETags
// make the next request cheap. (expirable.LRU would drop them, and keeps a
// goroutine that never ends.)
type cache struct {
	answers *lru.Cache[cacheKey, cached]
	ttl     time.Duration
}

type cacheKey struct{ id, features string }

type cached struct {
	Flags
	etag  string
	until time.Time // holds unasked
}

func newCache(size int, ttl time.Duration) *cache {
	answers, err := lru.New[cacheKey, cached](size)
	if err != nil {
		panic(err) // the size is positive
	}
	return &cache{answers, ttl}
}

func (c *cache) get(key cacheKey) (cached, bool) {
	if c == nil {
		return cached{}, false
	}
	return c.answers.Get(key)
}

func (c *cache) put(key cacheKey, flags Flags, etag string) {
	if c != nil {
		c.answers.Add(key, cached{flags, etag, time.Now().Add(c.ttl)})
	}
}
