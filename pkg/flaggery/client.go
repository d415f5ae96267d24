package flaggery

import (
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

// Edge reads what subjects get. Any number of goroutines may use one.
type Edge struct {
	client
	cache *cache // nil for none
}

// NewAdmin makes a client of the admin service at a base URL, such as
// "https://flags.example.com". The token is sent with every request; it may be
// empty if something on the way adds one.
func NewAdmin(baseURL, token string, opts ...Option) (*Admin, error) {
	o, c, err := newClient(baseURL, 30*time.Second, opts)
	if err != nil {
		return nil, err
	}
	if o.cacheSize > 0 {
		return nil, errors.New("an admin client has no cache")
	}
	c.token = token
	return &Admin{c}, nil
}

// NewEdge makes a client of an edge service, or of a load balancer before many,
// at a base URL such as "http://edge:8081".
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

// Option sets up a client.
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

// HTTPClient makes requests through c, whose transport may add TLS
// certificates, headers or traces. Its Timeout holds for imports and exports
// too, which have none otherwise. Redirects are refused unless c says how to
// follow them: a redirected write would arrive as a read.
func HTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// Timeout is for one attempt of one request, from its beginning to the end of
// the answer: 1 s on an edge and 30 s on an admin unless set. What a request is
// asked to [Wait] is added. Imports and exports have none.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Retries is how often a read that failed is tried again; 2 unless set.
func Retries(n int) Option { return func(o *options) { o.retries = n } }

// Token is what an [Edge] shows if edges ask for one. An [Admin] has its own.
func Token(token string) Option { return func(o *options) { o.token = token } }

// UserAgent names the program to the service, and in its log.
func UserAgent(name string) Option { return func(o *options) { o.userAgent = name } }

// Cache lets an [Edge] keep the answers for up to size subjects, and give each
// again for ttl without asking whether it still holds.
func Cache(size int, ttl time.Duration) Option {
	return func(o *options) { o.cacheSize, o.cacheTTL = size, ttl }
}

func newClient(baseURL string, timeout time.Duration, opts []Option) (options, client, error) {
	o := options{timeout: timeout, retries: 2, userAgent: "flaggery-go"}
	for _, option := range opts {
		option(&o)
	}
	u, err := url.Parse(baseURL)
	if err != nil {
		return o, client{}, fmt.Errorf("base URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return o, client{}, fmt.Errorf("base URL %q: must be like http://host:8080 or https://host/path", u.Redacted())
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

// Receipt says where an answer stands.
type Receipt struct {
	// Revision that the write made, or that the read was answered from. A dry run,
	// or a write that changes nothing, makes none; then this is the current one.
	Revision int64
	// ETag of the resource, for [IfMatch]; empty if it has none.
	ETag string
	// DryRun says that nothing was stored, and Effect what would have changed. Drawn
	// says that this includes a draw, which would come out differently if it was stored.
	DryRun bool
	Drawn  bool
	api.Effect
	// Removes is what would be deleted, as paths in the audit.
	Removes []string
	// Propagation is nil unless the write was asked to [Wait].
	Propagation *api.Propagation
}

// Result is the outcome of a call: the resource after the change, or what was
// read.
type Result[T any] struct {
	Receipt
	Value T
}

// WriteOption changes how a write is carried out.
type WriteOption func(*writeOptions)

type writeOptions struct {
	dryRun  bool
	cascade bool
	wait    time.Duration
	ifMatch string
	comment string
	imports url.Values // parameters of imports
}

// DryRun checks everything, stores nothing, and answers what would change. Role viewer
// may do it too, but of imports and tokens.
func DryRun() WriteOption { return func(o *writeOptions) { o.dryRun = true } }

// Wait answers once every edge serves the change, or after atMost (up to 30 s), and
// says how many do in Propagation. Edges that lost their connection within the last ten
// minutes are waited for too. The change is stored either way.
func Wait(atMost time.Duration) WriteOption { return func(o *writeOptions) { o.wait = atMost } }

// IfMatch refuses the write with precondition_failed when the resource is not
// the one that an earlier answer had this ETag for. Only what changes or deletes
// a resource heeds it.
func IfMatch(etag string) WriteOption { return func(o *writeOptions) { o.ifMatch = etag } }

// Comment says why, for the audit.
func Comment(text string) WriteOption { return func(o *writeOptions) { o.comment = text } }

// ReplaceGroups has an import take each subject whose line has groups, or an empty list
// of them, out of all other groups.
func ReplaceGroups() WriteOption { return importing("groups", "replace") }

// DeleteAbsent has an import delete the subjects that no line has. Unless it is a [DryRun],
// which says how many those are, it needs [ExpectDeleted] too.
func DeleteAbsent() WriteOption { return importing("absent", "delete") }

// ExpectDeleted refuses an import that would delete another number of subjects.
func ExpectDeleted(n int64) WriteOption { return importing("expect_deleted", strconv.FormatInt(n, 10)) }

// IgnoreColumns has an import skip columns of a CSV other than id, weight and groups, which
// are refused otherwise.
func IgnoreColumns() WriteOption { return importing("columns", "ignore") }

// importing sets a parameter that only imports take.
func importing(parameter, value string) WriteOption {
	return func(o *writeOptions) {
		if o.imports == nil {
			o.imports = url.Values{}
		}
		o.imports.Set(parameter, value)
	}
}

// CodeOf is the code of the problem in err's chain, or "" if there is none:
// err is nil, or no service of Flaggery has answered.
func CodeOf(err error) api.Code {
	var problem *api.Problem
	if errors.As(err, &problem) {
		return problem.Code
	}
	return ""
}
