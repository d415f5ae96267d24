package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

func TestParametersHaveOneReading(t *testing.T) {
	declared := reading{strict: true, query: map[string]form{"limit": formInteger, "wait": formSingle, "name[]": formMany, "comment": formText, "dry_run": formFlag, "cascade": formBoolean, "features": formList, "at": formTime}}
	for query, want := range map[string]string{
		"limit=5":                        "limit=5",
		"comment=":                       "comment=",
		"comment":                        "comment=",
		"dry_run":                        "dry_run=true",
		"dry_run=":                       "dry_run=true",
		"dry_run=false":                  "dry_run=false",
		"features=a&features=b,c":        "features=a%2Cb%2Cc",
		"limit=1&dry_run&comment":        "comment=&dry_run=true&limit=1",
		"at=2027-01-01T00:00:00%2B02:00": "at=2027-01-01T00%3A00%3A00%2B02%3A00",
		"limit=5.0":                      "limit=5",
		"name[]=a&name[]=b":              "name%5B%5D=a&name%5B%5D=b",
		// Rejected:
		"limit=05":                       `query.limit must be an integer, is "05"`,
		"limit=%2B5":                     `query.limit must be an integer, is "+5"`,
		"limit=5.5":                      `query.limit must be an integer, is "5.5"`,
		"limit=9223372036854775808":      "query.limit must be an integer between",
		"dry_run=1":                      `query.dry_run must be true or false, is "1"`,
		"dry_run=TRUE":                   `query.dry_run must be true or false, is "TRUE"`,
		"wait=":                          "query.wait must not be empty",
		"cascade=":                       "query.cascade must not be empty",
		"at=2027-01-01T00:00:00,5Z":      "query.at must be a time such as",
		"at=2027-01-01T00:00:00%2B24:00": "query.at must be a time such as",
		"at=2027-01-01":                  "query.at must be a time such as",
		"limit=":                         "query.limit must not be empty",
		"limit=1&limit=1":                "query.limit must be given once, is given 2 times",
		"dry_run=true&dry_run=true":      "query.dry_run must be given once",
		"comment=a&comment=b":            "query.comment must be given once",
		"features=":                      "query.features must not be empty",
		"dryrun=true":                    "query.dryrun is no parameter of this call",
		"Limit=5":                        "query.Limit is no parameter of this call",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		var faults model.Faults
		got := declared.readQuery(values, &faults).Encode()
		if err := faults.Err(); err != nil {
			got = err.Error()
		}
		if got != want && !strings.Contains(got, want) {
			t.Errorf("%s is read as %s, want %s", query, got, want)
		}
	}
	lenient := reading{query: declared.query}
	var faults model.Faults
	if got := lenient.readQuery(url.Values{"limit": {"5"}, "utm_source": {"", ""}}, &faults); faults.Err() != nil || got.Encode() != "limit=5" {
		t.Errorf("%v %v", got, faults)
	}
}

func TestHeadersHaveOneReading(t *testing.T) {
	for _, row := range []struct {
		header http.Header
		want   string // the joined list, or what is wrong
	}{
		{http.Header{"If-Match": {`"1"`, `"2", "3"`}}, `"1", "2", "3"`},
		{http.Header{"If-Match": {""}}, "header.If-Match must not be empty"},
		{http.Header{"If-Match": {" ", ","}}, "header.If-Match must not be empty"},
		{http.Header{"Authorization": {"Bearer a", "Bearer a"}}, "header.Authorization must be given once, is given 2 times"},
		{http.Header{"Content-Type": {"a/b", "a/b"}}, "header.Content-Type must be given once"},
		{http.Header{"Last-Event-Id": {"1", "2"}}, "header.Last-Event-Id must be given once"},
		{http.Header{"Accept": {"a/b", "c/d"}}, ""},
	} {
		err := readHeaders(row.header)
		got := row.header.Get("If-Match")
		if err != nil {
			got = err.Error()
		}
		if got != row.want && (err == nil || !strings.Contains(got, row.want)) {
			t.Errorf("%v: %s, want %s", row.header, got, row.want)
		}
	}
}

func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                   "a/json",
		"*/*":                                "a/json",
		"a/ndjson":                           "a/ndjson",
		"A/NDJSON":                           "a/ndjson",
		"a/ndjson;q=0":                       "a/json",
		"a/ndjson; Q=0.000":                  "a/json",
		"a/json;q=0, a/*":                    "a/ndjson",
		"a/json;q=0, a/ndjson":               "a/ndjson",
		"a/ndjson;q=0.5, a/*;q=0.4":          "a/ndjson",
		"a/ndjson;q=0.5, */*":                "a/json",
		"a/ndjson, a/json":                   "a/json",
		"a/*;q=0, */*":                       "a/json",
		"a/ndjson;q=x":                       "a/json",
		"b/html, ;, a/ndjson ;charset=\"x\"": "a/ndjson",
		"a/ndjsonx, xa/ndjson":               "a/json",
	} {
		if got := preferred(accept, "a/json", "a/ndjson"); got != want {
			t.Errorf("%s prefers %s, want %s", accept, got, want)
		}
	}
}

func TestUnreservedCharactersAreDecoded(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/fl%61gs": "/v1/flags", "/a%2Fb": "/a%2Fb", "/%7e%2d%5F%2E": "/~-_.", "/%25%61": "/%25a", "/%": "/%", "/%6": "/%6", "/%zz": "/%zz", "/%C3%A9": "/%C3%A9",
	} {
		if got := decodeUnreserved(path); got != want {
			t.Errorf("%s becomes %s, want %s", path, got, want)
		}
	}
}
