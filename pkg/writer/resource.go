package writer

import (
	"fmt"
	"net/url"
	"strings"
)

// resource is the subject of an audit row. The audit stores its path in the HTTP
// contract.
type resource struct {
	kind  resourceKind
	names [2]string // for the braces in kind; "" for none
}

// resourceKind is the pattern of the paths of one kind of resource.
type resourceKind string

const (
	bucketsResource        resourceKind = "buckets"
	featureResource        resourceKind = "features/{}"
	variantResource        resourceKind = "features/{}/variants/{}"
	defaultVariantResource resourceKind = "features/{}/default_variant"
	rolloutResource        resourceKind = "features/{}/rollout"
	testResource           resourceKind = "abtests/{}"
	groupResource          resourceKind = "groups/{}"
	overrideResource       resourceKind = "groups/{}/overrides/{}"
	memberResource         resourceKind = "groups/{}/subjects/{}"
	subjectResource        resourceKind = "subjects/{}"
	membersResource        resourceKind = "groups/{}/subjects" // many at once
	subjectsResource       resourceKind = "subjects"           // likewise, and imports
	tokenResource          resourceKind = tokensPath + "/{}"
)

const tokensPath = "tokens"

var resourceKinds = []resourceKind{
	bucketsResource, featureResource, variantResource, defaultVariantResource, rolloutResource, testResource,
	groupResource, overrideResource, memberResource, membersResource, subjectResource, subjectsResource, tokenResource,
}

// hasTexts reports whether the configuration grows by resources of this kind, see
// [model.MaxConfigurationSize].
func (k resourceKind) hasTexts() bool {
	switch k {
	case featureResource, variantResource, testResource, groupResource, overrideResource:
		return true
	default:
		return false
	}
}

// inScope reports whether a scope can include resources of this kind: those that are, or
// belong to, the feature, test or group of their first name.
func (k resourceKind) inScope() bool {
	switch k {
	case featureResource, variantResource, defaultVariantResource, rolloutResource, testResource,
		groupResource, overrideResource, memberResource, membersResource:
		return true
	default:
		return false
	}
}

// of returns the resource of this kind with these names.
func (k resourceKind) of(names ...string) resource {
	r := resource{kind: k}
	copy(r.names[:], names)
	return r
}

// String returns the path. Ids are escaped, as they may have any character; other names
// need no escapes.
func (r resource) String() string {
	path := string(r.kind)
	for _, name := range r.names {
		path = strings.Replace(path, "{}", url.PathEscape(name), 1)
	}
	return path
}

// parseResource parses the result of String.
func parseResource(text string) (resource, error) {
	path := strings.Split(text, "/")
	for _, kind := range resourceKinds {
		if names, ok := kind.match(path); ok {
			return kind.of(names...), nil
		}
	}
	return resource{}, fmt.Errorf("this version does not know %s", text)
}

// match finds the names in a path of this kind.
func (k resourceKind) match(path []string) (names []string, ok bool) {
	pattern := strings.Split(string(k), "/")
	if len(path) != len(pattern) {
		return nil, false
	}
	for i := range path {
		if pattern[i] != "{}" {
			if path[i] != pattern[i] {
				return nil, false
			}
			continue
		}
		name, err := url.PathUnescape(path[i])
		if name == "" || err != nil {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// kindOfChange returns the kind of a change of the resource.
func (r resource) kindOfChange() kind {
	switch r.kind {
	case subjectResource, subjectsResource, memberResource, membersResource:
		return subjects
	case tokenResource:
		return tokens
	default:
		return configuration
	}
}
