package edge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/shortcut"
	"github.com/flaggery/flaggery/pkg/web"
)

const bulk = "/ofrep/v1/evaluate/flags"

// evaluated reads an answer strictly, as the types document it.
func evaluated[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || a.header.Get("Content-Type") != api.MediaJSON {
		t.Fatalf("%d %s of type %s: %v", a.status, a.body, a.header.Get("Content-Type"), err)
	}
	return v
}

func TestEvaluation(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	ctx := t.Context()
	write := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quickstart(t, w)
	for _, feature := range []string{"rolled", "tested"} {
		write(w.AddFeature(ctx, api.CreateFeature{Name: feature}))
		write(w.AddVariant(ctx, feature, api.CreateVariant{Name: "on", Payload: json.RawMessage(`{"ratio":1.0}`)}))
	}
	write(w.AddRollout(ctx, "rolled", "on"))
	write(w.SetRolloutProportion(ctx, "rolled", 1))
	now := time.Now()
	all, none, arm := 1.0, 0.0, map[string]string{"tested": "on"}
	created, err := w.AddABTest(ctx, api.CreateABTest{Name: "trial", Start: now.Add(-time.Hour), End: now.Add(time.Hour),
		Groups: []api.CreateTestGroup{{Name: "all", Proportion: &all, Variants: arm}, {Name: "none", Proportion: &none, Variants: arm}}})
	_, revision := must(t, created, err)
	e := start(t, dbURL, nil).at(revision)

	subject, err := w.Subject(ctx, "42")
	write(subject, err)
	a := e.do("POST", bulk, `{"context": {"targetingKey": "42", "plan": {"name": "gold"}}}`)
	if a.status != http.StatusOK || a.header.Get("Flaggery-Revision") == "" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	got := evaluated[api.Evaluations](t, a).Flags
	want := []api.Evaluation{
		{Key: "foobar", Reason: "TARGETING_MATCH", Variant: "B", Value: json.RawMessage(`"B"`), Metadata: api.EvaluationMetadata{Step: "override", Group: "friends"}},
		{Key: "off", Reason: "DISABLED", Variant: "__DISABLE__", Metadata: api.EvaluationMetadata{Step: "default"}},
		{Key: "rolled", Reason: "SPLIT", Variant: "on", Value: json.RawMessage(`{"ratio":1.0}`), Metadata: api.EvaluationMetadata{Step: "rollout"}},
		{Key: "tested", Reason: "SPLIT", Variant: "on", Value: json.RawMessage(`{"ratio":1.0}`), Metadata: api.EvaluationMetadata{Step: "abtest", Test: "trial", TestGroup: "all"}},
	}
	for i := range want {
		want[i].Metadata.Bucket = int64(subject.Value.BucketID)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d flags: %s", len(got), a.body)
	}
	for i, g := range got {
		if g.Metadata.Revision <= 0 || g.Metadata.Revision > revision {
			t.Errorf("%s: revision %d", g.Key, g.Metadata.Revision)
		}
		g.Metadata.Revision = 0
		if g.Metadata != want[i].Metadata || g.Key != want[i].Key || g.Reason != want[i].Reason || g.Variant != want[i].Variant || !bytes.Equal(g.Value, want[i].Value) {
			t.Errorf("got %+v, want %+v", g, want[i])
		}
	}

	etag := a.header.Get("ETag")
	if a := e.do("POST", bulk+"?flagConfigEtag=x&flagConfigLastModified=1771622898", `{"context":{"targetingKey":"42"}}`, "If-None-Match", etag); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("with its own ETag: %d %s", a.status, a.body)
	}
	other := e.do("POST", bulk, `{"context":{"targetingKey":"a b/ü%"}}`, "If-None-Match", etag)
	if flags := evaluated[api.Evaluations](t, other).Flags; other.status != http.StatusOK || flags[0].Reason != "STATIC" || flags[0].Variant != "A" {
		t.Errorf("another subject: %d %s", other.status, other.body)
	}

	single := e.do("POST", bulk+"/rolled", `{"context":{"targetingKey":"42"}}`)
	if flag := evaluated[api.Evaluation](t, single); single.status != http.StatusOK || flag.Key != "rolled" || string(flag.Value) != `{"ratio":1.0}` {
		t.Errorf("one flag: %d %s", single.status, single.body)
	}
	if metrics := e.do("GET", "/metrics", "").body; !strings.Contains(metrics, `flaggery_edge_variant_served_total{feature="rolled",variant="on"} 4`) {
		t.Errorf("served variants are not counted:\n%s", regexp.MustCompile(`.*rolled.*`).FindAllString(metrics, -1))
	}
}

// On an error, the web provider keeps the flags of the previous subject.
func TestEvaluationOfUnknownSubject(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	e := start(t, dbURL, nil).at(quickstart(t, openWriter(t, dbURL)))
	const unknown = `{"context":{"targetingKey":"9"}}`
	a := e.do("POST", bulk, unknown)
	if a.status != http.StatusOK || a.body != `{"flags":[],"metadata":{"unknownSubject":true}}` || a.header.Get("Content-Type") != api.MediaJSON {
		t.Errorf("all flags: %d %s", a.status, a.body)
	}
	if again := e.do("POST", bulk, unknown, "If-None-Match", a.header.Get("ETag")); again.status != http.StatusNotModified {
		t.Errorf("all flags again: %d %s", again.status, again.body)
	}
	a = e.do("POST", bulk+"/foobar", unknown)
	if f := evaluated[api.EvaluationFailure](t, a); a.status != http.StatusBadRequest || f.ErrorCode != "INVALID_CONTEXT" || f.Key != "foobar" {
		t.Errorf("one flag: %d %s", a.status, a.body)
	}
}

// The name of the environment is in the answers of the shortcut, of net/http and of the
// routes, and their ETags depend on it.
func TestEvaluationNamesTheEnvironment(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	revision := quickstart(t, openWriter(t, dbURL))
	const known, unknown = `{"context":{"targetingKey":"42"}}`, `{"context":{"targetingKey":"9"}}`
	etags := map[string]string{}
	for _, environment := range []web.Environment{"", "staging", `Production "EU" <1>`} {
		short := start(t, dbURL, func(c *Config) { c.Environment = environment }).at(revision)
		long := start(t, dbURL, func(c *Config) { c.Environment, c.Shortcut = environment, false }).at(revision)
		ask := func(path, body string, header ...string) answer {
			t.Helper()
			a := short.do("POST", path, body, header...)
			for form, other := range map[string]answer{"net/http": long.do("POST", path, body, header...), "the routes": long.do("POST", path+"?flagConfigEtag=x", body, header...)} {
				if other.status != a.status || other.body != a.body || other.header.Get("ETag") != a.header.Get("ETag") {
					t.Errorf("%q: %s answer %d %s, the shortcut %d %s", environment, form, other.status, other.body, a.status, a.body)
				}
			}
			return a
		}
		metadata := func(of *api.EvaluationsMetadata) api.EvaluationsMetadata {
			if of == nil {
				return api.EvaluationsMetadata{}
			}
			return *of
		}
		for body, isUnknown := range map[string]bool{known: false, unknown: true} {
			a := ask(bulk, body)
			all := evaluated[api.Evaluations](t, a)
			if got, want := metadata(all.Metadata), (api.EvaluationsMetadata{UnknownSubject: isUnknown, Environment: string(environment)}); got != want {
				t.Errorf("%q: %s has the metadata %+v", environment, body, got)
			}
			if isUnknown != (len(all.Flags) == 0) {
				t.Errorf("%q: %s gets %s", environment, body, a.body)
			}
			for _, flag := range all.Flags {
				if flag.Metadata.Environment != string(environment) {
					t.Errorf("%q: the metadata of %s is %+v", environment, flag.Key, flag.Metadata)
				}
			}
			etag := a.header.Get("ETag")
			for other, of := range etags {
				if again := ask(bulk, body, "If-None-Match", other); again.status != http.StatusOK {
					t.Errorf("%q: the ETag of %s gets %d", environment, of, again.status)
				}
			}
			if again := ask(bulk, body, "If-None-Match", etag); again.status != http.StatusNotModified || again.body != "" {
				t.Errorf("%q: the own ETag gets %d %s", environment, again.status, again.body)
			}
			etags[etag] = string(environment) + " " + body
		}
		if one := evaluated[api.Evaluation](t, ask(bulk+"/foobar", known)); one.Metadata.Environment != string(environment) {
			t.Errorf("%q: the metadata of one flag is %+v", environment, one.Metadata)
		}
		info := regexp.MustCompile(`(?m)^flaggery_environment_info.*$`).FindString(short.do("GET", "/metrics", "").body)
		if (info != "") != (environment != "") {
			t.Errorf("%q has the metric %q", environment, info)
		}
	}
}

func TestEvaluationRefuses(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	e := start(t, dbURL, nil).at(quickstart(t, openWriter(t, dbURL)))
	for _, c := range []struct {
		body, code string
	}{
		{`{"context":{"targetingKey":"a\u0000"}}`, "INVALID_CONTEXT"},
		{`{"context":{"targetingKey":"` + strings.Repeat("x", 257) + `"}}`, "INVALID_CONTEXT"},
		{`{"context":{"targetingKey":42}}`, "INVALID_CONTEXT"},
		{`{"context":[]}`, "INVALID_CONTEXT"},
		{`[]`, "INVALID_CONTEXT"},
		{`{"context":{"targetingKey":""}}`, "TARGETING_KEY_MISSING"},
		{`{"context":{"targetingKey":null}}`, "TARGETING_KEY_MISSING"},
		{`{"context":{}}`, "TARGETING_KEY_MISSING"},
		{`{"context":null}`, "TARGETING_KEY_MISSING"},
		{`{}`, "TARGETING_KEY_MISSING"},
		{`{"context":{"targetingKey":"42"}`, "PARSE_ERROR"},
		{`{"context":{"targetingKey":"42"}} x`, "PARSE_ERROR"},
		{"{\"context\":{\"targetingKey\":\"\xff\"}}", "PARSE_ERROR"},
		{`{"context":{"targetingKey":"42","targetingKey":"43"}}`, "PARSE_ERROR"},
		{`{"context":{"targetingKey":"s\ud800"}}`, "PARSE_ERROR"},
		{`{"context":{"TARGETINGKEY":"42"}}`, "TARGETING_KEY_MISSING"},
		{``, "PARSE_ERROR"},
	} {
		for _, key := range []string{"", "foobar"} {
			path := bulk
			if key != "" {
				path += "/" + key
			}
			a := e.do("POST", path, c.body)
			f := evaluated[api.EvaluationFailure](t, a)
			if a.status != http.StatusBadRequest || f.ErrorCode != c.code || f.Key != key || f.ErrorDetails == "" {
				t.Errorf("%s with %.60s: %d %s, want %s", path, c.body, a.status, a.body, c.code)
			}
		}
	}
	for _, key := range []string{"empty", "nothing", "%20", "a%2Fb"} { // a flag that resolves to nothing does not exist here
		a := e.do("POST", bulk+"/"+key, `{"context":{"targetingKey":"42"}}`)
		if f := evaluated[api.EvaluationFailure](t, a); a.status != http.StatusNotFound || f.ErrorCode != "FLAG_NOT_FOUND" {
			t.Errorf("%s: %d %s", key, a.status, a.body)
		}
	}
	e.expect("POST", bulk, `{"context":{"targetingKey":"`+strings.Repeat("x", 1<<20)+`"}}`, 413, "body_too_large")
	if a := e.do("GET", bulk, ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", a.status, a.body)
	}

	cold := start(t, "postgres://nobody@127.0.0.1:1/none", nil)
	a := cold.do("POST", bulk+"/foobar", `{"context":{"targetingKey":"42"}}`)
	if f := evaluated[api.EvaluationFailure](t, a); a.status != http.StatusServiceUnavailable || f.ErrorCode != "GENERAL" || f.Key != "foobar" || a.header.Get("Retry-After") == "" {
		t.Errorf("before anything is loaded: %d %v %s", a.status, a.header, a.body)
	}
}

// FuzzEvaluation sends anything as the body of an evaluation, in the form that only the
// routes take, in the plain form, and through the shortcut: all get the same answer.
func FuzzEvaluation(f *testing.F) {
	e := serving(f, &source{subjects: 1000}, nil)
	etag := evaluate(e, bulk, `{"context":{"targetingKey":"1"}}`, "").Header().Get("ETag")
	for _, body := range []string{
		`{"context":{"targetingKey":"1"}}`, `{"context":{"targetingKey":1}}`, `{"context":{}}`, `{"context":null}`, `null`, `[]`, ``, `{`,
		`{"context":{"targetingKey":"\ud800"}}`, `{"context":{"targetingKey":"1"}}{}`, "\xef\xbb\xbf{}", strings.Repeat(`{"context":`, 1000),
		` {"context": {"targetingKey": "1", "plan": [1]}} `, `{"context":{"targetingKey":"nobody"}}`, `{"context":{"targetingKey":"1"}}` + strings.Repeat(" ", maxSmallBody),
	} {
		for _, ifNoneMatch := range []string{"", "*", etag, `"other"`} {
			f.Add("", body, ifNoneMatch)
			f.Add("/feature-number-01", body, ifNoneMatch)
		}
		f.Add("/nothing", body, "")
		f.Add("/feature-number-01/", body, "")
		f.Add("s", body, "")
	}
	f.Fuzz(func(t *testing.T, rest, body, ifNoneMatch string) {
		ifNoneMatch = strings.TrimSpace(ifNoneMatch)
		if u, err := url.Parse(bulk + rest); err != nil || u.Path != bulk+rest || u.RawPath != "" {
			return // only another spelling of the path
		}
		plain := evaluate(e, bulk+rest, body, ifNoneMatch)
		want := said(plain.Code, plain.Header(), plain.Body.String())
		if plain.Code >= 500 || plain.Code != http.StatusNotModified && !json.Valid(plain.Body.Bytes()) {
			t.Errorf("%q: %s", body, want)
		}
		routed := evaluate(e, bulk+rest+"?flagConfigEtag=x", body, ifNoneMatch)
		if routed := said(routed.Code, routed.Header(), routed.Body.String()); routed != want && (rest == "" || plain.Code < 400) {
			t.Errorf("%q of %q with %q: the answer is %s, that of the route %s", body, rest, ifNoneMatch, want, routed)
		}
		short := saidShort(t, e.evaluateShort, shortcut.Request{Value: []byte(rest), IfNoneMatch: []byte(ifNoneMatch), Body: []byte(body)})
		if short != want && (short != "" || plain.Code < 400 && plain.Header().Get("ETag") != e.unknownSubject.etag[0]) {
			t.Errorf("%q of %q with %q: the answer is %s, that of the shortcut %s", body, rest, ifNoneMatch, want, short)
		}
	})
}

func evaluate(e *service, target, body, ifNoneMatch string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", api.MediaJSON)
	if ifNoneMatch != "" {
		r.Header.Set("If-None-Match", ifNoneMatch)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}
