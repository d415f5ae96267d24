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

// Flags are the flags of one subject. The zero value has every feature off.
type Flags struct {
	variants map[string]string // shared with the cache
	// Revision of the configuration.
	Revision int64
	// Age is how long ago the edge was last in sync with its database, 0 if it is
	// connected.
	Age time.Duration
	// Stale says that no edge could be reached, and that this is the last answer from
	// the cache.
	Stale bool
}

// Variant returns the variant of a feature, "" if it resolves to nothing.
func (f Flags) Variant(feature string) string { return f.variants[feature] }

// Enabled reports whether a feature resolves to a variant other than the disabling one.
func (f Flags) Enabled(feature string) bool {
	variant := f.variants[feature]
	return variant != "" && variant != api.DisablingVariant
}

// All yields features and their variants, in no order.
func (f Flags) All() iter.Seq2[string, string] { return maps.All(f.variants) }

// FlagsOption is an option of [Edge.Flags].
type FlagsOption func(*flagsOptions)

type flagsOptions struct {
	minRevision int64
	wait        time.Duration
	features    string
}

// MinRevision reads flags of this revision or a later one. The edge waits for it, and
// fails with not_ready if it has not arrived after atMost.
func MinRevision(revision int64, atMost time.Duration) FlagsOption {
	return func(o *flagsOptions) { o.minRevision, o.wait = revision, atMost }
}

// Only restricts the answer to these features.
func Only(features ...string) FlagsOption {
	return func(o *flagsOptions) { o.features = strings.Join(features, ",") }
}

// Flags reads the flags of a subject. Fails with subject_not_found, not_ready, and if
// no edge can be reached. With a [Cache], it then returns the last answer, marked Stale.
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
		e.cache.put(key, kept.Flags, kept.etag) // so that an outage costs one attempt per ttl, not per call
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

// unreachable reports whether the edge or the network failed, rather than the request.
func unreachable(err error) bool {
	var problem *api.Problem
	return !errors.As(err, &problem) || problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests
}

func age(h http.Header) time.Duration {
	seconds, _ := strconv.ParseFloat(h.Get(api.HeaderSnapshotAge), 64)
	return time.Duration(seconds * float64(time.Second))
}

// BatchFlags reads the flags of up to 10,000 subjects, all of one revision. It returns
// flags by id, and unknown ids. Fails with not_ready.
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

// cache keeps answers longer than their ttl: their ETags make the next request cheap.
// (expirable.LRU would drop them, and has a goroutine that never ends.)
type cache struct {
	answers *lru.Cache[cacheKey, cached]
	ttl     time.Duration
}

type cacheKey struct{ id, features string }

type cached struct {
	Flags
	etag  string
	until time.Time // may be returned without a request
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
