package flaggery

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// Admin reads and changes the configuration. Any number of goroutines may use one.
type Admin struct{ client }

// Edge reads the flags of subjects. Any number of goroutines may use one.
type Edge struct {
	client
	cache *cache // nil for none
}

// NewAdmin returns a client of the admin service at a base URL, such as
// "https://flags.example.com". The token is sent with every request; it may be empty
// if a proxy adds one.
func NewAdmin(baseURL, token string, opts ...Option) (*Admin, error) {
	o, c, err := newClient(baseURL, 30*time.Second, opts)
	if err != nil {
		return nil, err
	}
	if o.cacheSize > 0 {
		return nil, errors.New("an admin client takes no Cache")
	}
	c.token = token
	return &Admin{c}, nil
}

// NewEdge returns a client of an edge, or of a load balancer in front of several, at a
// base URL such as "http://edge:8081".
func NewEdge(baseURL string, opts ...Option) (*Edge, error) {
	o, c, err := newClient(baseURL, time.Second, opts)
	if err != nil {
		return nil, err
	}
	c.token = o.token
	e := &Edge{client: c}
	if o.cacheSize > 0 {
		e.cache = newCache(o.cacheSize, o.cacheTTL)
	}
	return e, nil
}

// Option configures a client.
type Option func(*options)

type options struct {
	http      *http.Client
	timeout   time.Duration
	retries   int
	token     string
	userAgent string
	cacheSize int
	cacheTTL  time.Duration
}

// HTTPClient sends requests through c, whose transport may add TLS certificates,
// headers or traces. Its Timeout also limits imports and exports, which have none
// otherwise. Redirects are not followed unless c has a CheckRedirect: a redirected
// write would arrive as a read.
func HTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// Timeout limits one attempt of one request, including its answer: 1 s for an [Edge]
// and 30 s for an [Admin] unless set. The time of [Wait] is added. Imports and exports
// have none.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Retries is how often a failed read is retried; 2 unless set.
func Retries(n int) Option { return func(o *options) { o.retries = n } }

// Token authenticates an [Edge], if edges require a token. [NewAdmin] takes its own.
func Token(token string) Option { return func(o *options) { o.token = token } }

// UserAgent names the program in the logs of the service.
func UserAgent(name string) Option { return func(o *options) { o.userAgent = name } }

// Cache makes an [Edge] keep up to size answers, and return each without a request
// for ttl.
func Cache(size int, ttl time.Duration) Option {
	return func(o *options) { o.cacheSize, o.cacheTTL = size, ttl }
}

func newClient(baseURL string, timeout time.Duration, opts []Option) (options, client, error) {
	o := options{timeout: timeout, retries: 2, userAgent: "flaggery-go"}
	for _, option := range opts {
		option(&o)
	}
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		shown := strconv.Quote(baseURL)
		if strings.Contains(shown, "@") {
			shown = "***" // it may have a password
		}
		return o, client{}, fmt.Errorf("base URL %s must be like http://host:8080 or https://host/path", shown)
	}
	c := client{base: strings.TrimRight(u.String(), "/"), timeout: o.timeout, retries: o.retries, userAgent: o.userAgent}
	if o.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64 // all requests go to one host; the default of 2 would reconnect all the time
		o.http = &http.Client{Transport: transport}
	}
	c.http = *o.http
	if c.http.CheckRedirect == nil {
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return o, c, nil
}

// Receipt holds the revision and version of an answer, and the effects of a write.
type Receipt struct {
	// Revision that the write made, or that the read was answered from. A dry run, or
	// a write that changes nothing, makes none: then it is the current one.
	Revision int64
	// ETag of the resource, for [IfMatch]; empty if it has none.
	ETag string
	// DryRun says that nothing was stored; Effect is what would change. Drawn says that
	// the write draws at random: the stored write will draw differently.
	DryRun bool
	Drawn  bool
	api.Effect
	// Removes lists what would be deleted, as paths in the audit.
	Removes []string
	// Propagation is nil without [Wait].
	Propagation *api.Propagation
	// Body is the answer as the service sent it, with fields that this release does not
	// know. It is empty if the answer has none.
	Body json.RawMessage
}

// Result is the outcome of a call: the resource as it was read, or after the change.
type Result[T any] struct {
	Receipt
	Value T
}

// WriteOption is an option of a write.
type WriteOption func(*writeOptions)

type writeOptions struct {
	dryRun  bool
	cascade bool
	wait    time.Duration
	ifMatch string
	comment string
	own     url.Values // parameters that only some calls take
}

// DryRun checks the write, stores nothing, and returns what would change. Role viewer
// may run dry runs too, except of imports and tokens.
func DryRun() WriteOption { return func(o *writeOptions) { o.dryRun = true } }

// Wait makes a write return as soon as every edge serves it, or after atMost (up to 30
// s). Propagation says how many edges do. Edges that lost their connection within the
// last 10 minutes count too. The write is stored in either case.
func Wait(atMost time.Duration) WriteOption { return func(o *writeOptions) { o.wait = atMost } }

// IfMatch makes a write fail with precondition_failed unless the resource still has
// this ETag, from an earlier answer. Creating a resource ignores it.
func IfMatch(etag string) WriteOption { return func(o *writeOptions) { o.ifMatch = etag } }

// Comment is the reason of a write, kept in the audit.
func Comment(text string) WriteOption { return func(o *writeOptions) { o.comment = text } }

// ReplaceGroups makes an import remove each subject whose line has groups, even an
// empty list, from all other groups.
func ReplaceGroups() WriteOption { return setting("groups", "replace") }

// DeleteAbsent makes an import delete the subjects that no line has. It requires
// [ExpectDeleted], except in a [DryRun], which returns that number.
func DeleteAbsent() WriteOption { return setting("absent", "delete") }

// ExpectDeleted makes an import fail if it would delete another number of subjects.
func ExpectDeleted(n int64) WriteOption { return setting("expect_deleted", strconv.FormatInt(n, 10)) }

// IgnoreColumns makes an import skip CSV columns other than id, weight and groups.
// Otherwise it fails with them.
func IgnoreColumns() WriteOption { return setting("columns", "ignore") }

// Prune makes ApplyState archive features and delete groups and ended tests that the
// document's owner manages and the document lacks.
func Prune() WriteOption { return setting("prune", "true") }

// Force makes ApplyState take over what other owners manage.
func Force() WriteOption { return setting("force", "true") }

// setting sets a parameter that only some calls take.
func setting(parameter, value string) WriteOption {
	return func(o *writeOptions) {
		if o.own == nil {
			o.own = url.Values{}
		}
		o.own.Set(parameter, value)
	}
}

// CodeOf returns the code of the problem in err's chain. It is "" if there is none: err
// is nil, or no Flaggery service has answered.
func CodeOf(err error) api.Code {
	var problem *api.Problem
	if errors.As(err, &problem) {
		return problem.Code
	}
	return ""
}
