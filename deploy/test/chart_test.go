// Package test holds what is checked of deploy/ with the tools that will read it:
// Helm, kubeconform, promtool and Prometheus. It is a module of its own, as
// Flaggery needs none of their code.
package test

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var update = flag.Bool("update", false, "rewrite what the chart is expected to render")

const chart = "../helm/flaggery"

// rendered has the directory of each rendered set of values.
var rendered = map[string]string{
	"testdata/values/plain.yaml":      "../kubernetes/flaggery.yaml",
	"testdata/values/everything.yaml": "testdata/golden/everything.yaml",
	"testdata/values/cluster.yaml":    "testdata/golden/cluster.yaml",
	"testdata/values/customised.yaml": "testdata/golden/customised.yaml",
	chart + "/values-staging.yaml":    "testdata/golden/staging.yaml",
	chart + "/values-production.yaml": "testdata/golden/production.yaml",
}

func TestChart(t *testing.T) {
	t.Parallel()
	for values, golden := range rendered {
		t.Run(strings.TrimSuffix(filepath.Base(values), ".yaml"), func(t *testing.T) {
			t.Parallel()
			for _, message := range lint.All(chart, read(t, values), "flaggery", true).Messages {
				if message.Severity > support.InfoSev {
					t.Errorf("lint: %v", message)
				}
			}
			got, err := render(read(t, values))
			if err != nil {
				t.Fatal(err)
			}
			got = "# Rendered from deploy/helm/flaggery by make update-deploy. Do not edit.\n" + got
			conforms(t, values, got)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs from what the chart renders: run make update-deploy and read the difference", golden)
			}
		})
	}
}

// read returns values for one use: Helm removes what is null from them.
func read(t *testing.T, file string) chartutil.Values {
	t.Helper()
	values, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestDashboards holds ConfigMaps to the dashboards of which they are made. The
// golden files do without these, as they are long.
func TestDashboards(t *testing.T) {
	t.Parallel()
	values := read(t, "testdata/values/plain.yaml")
	values["dashboards"] = map[string]any{"enabled": true, "annotations": map[string]any{"grafana_folder": "Flaggery"}}
	got, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, "dashboards", got)
	found := map[string]string{}
	for document := range strings.SplitSeq(got, "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Labels map[string]string }
			Data     map[string]string
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind == "ConfigMap" && object.Metadata.Labels["grafana_dashboard"] == "1" {
			maps.Copy(found, object.Data)
		}
	}
	files, err := filepath.Glob(chart + "/dashboards/*.json")
	if err != nil || len(files) == 0 || len(files) != len(found) {
		t.Fatalf("dashboards %v, %v; ConfigMaps have %d", files, err, len(found))
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found[filepath.Base(file)] != strings.TrimSpace(string(want)) {
			t.Errorf("the ConfigMap of %s differs from it", file)
		}
	}
}

// TestKustomization builds deploy/kubernetes as kubectl apply -k does.
func TestKustomization(t *testing.T) {
	t.Parallel()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, "kustomization", string(text))
	want := 0
	for _, file := range []string{"../kubernetes/namespace.yaml", "../kubernetes/flaggery.yaml"} {
		manifests, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want += strings.Count("\n"+string(manifests), "\nkind: ")
	}
	if built.Size() != want {
		t.Errorf("the kustomization has %d objects, its files %d", built.Size(), want)
	}
}

// TestValuesAreRefused checks that the schema and the templates reject values with which a
// release could not work.
func TestValuesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ values, reason string }{
		"no database":            {`{secrets: {existing: s}}`, "set database.host, or cluster.enabled"},
		"no token":               {`{database: {host: h}, secrets: {edgePassword: e, databasePassword: d}}`, "set secrets.adminToken"},
		"short token":            {`{secrets: {adminToken: short}}`, "/secrets/adminToken"},
		"unknown setting":        {`{edges: {replicas: 2}}`, "additional properties 'edges' not allowed"},
		"unknown choice":         {`{edge: {unknownSubjects: maybe}}`, "/edge/unknownSubjects"},
		"ingress of no host":     {`{admin: {ingress: {enabled: true}}}`, "/admin/ingress/hosts"},
		"route to no gateway":    {`{edge: {httpRoute: {enabled: true}}}`, "/edge/httpRoute/parentRefs"},
		"digest that is none":    {`{image: {digests: {admin: latest}}}`, "/image/digests/admin"},
		"no peer is everybody":   {`{networkPolicy: {edgeFrom: [{}]}}`, "/networkPolicy/edgeFrom/0"},
		"variable of no setting": {`{edge: {env: {PATH: /}}}`, "invalid propertyName 'PATH'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values, err := chartutil.ReadValues([]byte(c.values))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := render(values); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got error %v, want one with %q", err, c.reason)
			}
		})
	}
}

// TestSchemasRefuse proves that conformity is not empty praise.
func TestSchemasRefuse(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"unknown field":  "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {port: 80}}",
		"wrong type":     "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: 80}}",
		"missing field":  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {}}",
		"unknown kind":   "{apiVersion: v1, kind: Pods, metadata: {name: x}}",
		"other resource": "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: x}, spec: {selectors: {}}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, result := range conformity(t, name, manifest) {
				if result.Status == validator.Valid {
					t.Error("the manifest was found valid")
				}
			}
		})
	}
}

func TestPlainManifestsConform(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../kubernetes/namespace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, "namespace.yaml", string(text))
}

// render is helm template.
func render(values map[string]any) (string, error) {
	c, err := loader.LoadDir(chart)
	if err != nil {
		return "", err
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "flaggery", Namespace: "flaggery"}, nil)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	for name := range files {
		if filepath.Ext(name) != ".yaml" {
			delete(files, name) // notes for people
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, m := range manifests {
		out.WriteString("---\n" + strings.TrimSpace(m.Content) + "\n")
	}
	return out.String(), nil
}

func conformity(t *testing.T, name, manifests string) []validator.Result {
	v, err := validator.New([]string{"testdata/schemas/{{.ResourceKind}}{{.KindSuffix}}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return v.Validate(name, io.NopCloser(bytes.NewBufferString(manifests)))
}

func conforms(t *testing.T, name, manifests string) {
	t.Helper()
	found := 0
	for _, result := range conformity(t, name, manifests) {
		switch result.Status {
		case validator.Valid:
			found++
		case validator.Empty:
		default:
			t.Errorf("%v", result.Err)
		}
	}
	if found == 0 {
		t.Errorf("%s: no manifest was found", name)
	}
}
