// Schemas writes JSON schemas of the kinds that Flaggery's manifests use to
// testdata/schemas, derived from their Go types. Fields that those do not have are
// refused. The schema of CloudNativePG's Cluster is not among them, and is kept by
// hand: it knows just the fields that the chart uses.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// kinds by the names under which kubeconform looks for them.
var kinds = map[string]any{
	"configmap-v1":                           core.ConfigMap{},
	"deployment-apps-v1":                     apps.Deployment{},
	"horizontalpodautoscaler-autoscaling-v2": autoscaling.HorizontalPodAutoscaler{},
	"httproute-gateway-v1":                   gateway.HTTPRoute{},
	"ingress-networking-v1":                  networking.Ingress{},
	"namespace-v1":                           core.Namespace{},
	"networkpolicy-networking-v1":            networking.NetworkPolicy{},
	"podmonitor-monitoring-v1":               monitoring.PodMonitor{},
	"poddisruptionbudget-policy-v1":          policy.PodDisruptionBudget{},
	"prometheusrule-monitoring-v1":           monitoring.PrometheusRule{},
	"secret-v1":                              core.Secret{},
	"service-v1":                             core.Service{},
	"serviceaccount-v1":                      core.ServiceAccount{},
	"statefulset-apps-v1":                    apps.StatefulSet{},
	"servicemonitor-monitoring-v1":           monitoring.ServiceMonitor{},
}

type schema map[string]any

// special are the types whose JSON does not follow from their fields.
var special = map[reflect.Type]schema{
	reflect.TypeFor[resource.Quantity]():    {"type": []string{"string", "number"}},
	reflect.TypeFor[intstr.IntOrString]():   {"type": []string{"string", "integer"}},
	reflect.TypeFor[meta.Time]():            {"type": "string"},
	reflect.TypeFor[meta.MicroTime]():       {"type": "string"},
	reflect.TypeFor[meta.Duration]():        {"type": "string"},
	reflect.TypeFor[meta.FieldsV1]():        {"type": "object"},
	reflect.TypeFor[runtime.RawExtension](): {"type": "object"},
	reflect.TypeFor[[]byte]():               {"type": "string"},
}

// definitions are of structs, by name, as they refer to each other.
type definitions map[string]schema

func (d definitions) of(t reflect.Type) schema {
	if s, ok := special[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.of(t.Elem())
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint64:
		return schema{"type": "integer"}
	case reflect.Slice:
		return schema{"type": "array", "items": d.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": d.of(t.Elem())}
	case reflect.Struct:
		name := t.PkgPath()[strings.Index(t.PkgPath(), "/")+1:] + "." + t.Name()
		name = strings.ReplaceAll(name, "/", ".")
		if _, known := d[name]; !known {
			d[name] = nil // on its way, for types that hold themselves
			d[name] = d.ofStruct(t)
		}
		return schema{"$ref": "definitions.json#/definitions/" + name}
	default:
		panic(fmt.Sprintf("no schema for %v", t))
	}
}

func (d definitions) ofStruct(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	var add func(reflect.Type)
	add = func(t reflect.Type) {
		for field := range t.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case name == "-" || !field.IsExported():
			case field.Anonymous && name == "":
				if field.Type.Kind() == reflect.Pointer {
					field.Type = field.Type.Elem()
				}
				add(field.Type)
			default:
				properties[name] = d.of(field.Type)
				if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
					required = append(required, name)
				}
			}
		}
	}
	add(t)
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func main() {
	all := definitions{}
	for name, kind := range kinds {
		write(name, all.of(reflect.TypeOf(kind)))
	}
	write("definitions", schema{"definitions": all})
}

// write puts each definition on a line of its own, so that differences can be read.
func write(name string, s schema) {
	var text bytes.Buffer
	if all, ok := s["definitions"].(definitions); ok {
		text.WriteString("{\"definitions\": {\n")
		separator := ""
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&text, "%s%q: %s", separator, name, encode(all[name]))
			separator = ",\n"
		}
		text.WriteString("\n}}\n")
	} else {
		fmt.Fprintf(&text, "%s\n", encode(s))
	}
	if err := os.WriteFile(filepath.Join("testdata", "schemas", name+".json"), text.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func encode(s schema) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		log.Fatal(err)
	}
	return text
}
