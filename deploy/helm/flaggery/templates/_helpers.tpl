{{/* Templates take (dict "root" $ "component" "edge"), as the same objects exist of both programs. */}}

{{- define "flaggery.name" -}}
{{- $release := .root.Release.Name -}}
{{- .root.Values.fullnameOverride | default (contains "flaggery" $release | ternary $release (printf "%s-flaggery" $release)) }}-{{ .component -}}
{{- end }}

{{- define "flaggery.selector" -}}
app.kubernetes.io/name: flaggery-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "flaggery.labels" -}}
{{ include "flaggery.selector" . }}
app.kubernetes.io/part-of: flaggery
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "flaggery.metadata" -}}
name: {{ include "flaggery.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "flaggery.labels" . | nindent 2 }}
{{- end }}

{{- define "flaggery.serviceAccount" -}}
{{- (index .root.Values .component).serviceAccount.name | default (include "flaggery.name" .) -}}
{{- end }}

{{- define "flaggery.servicePort" -}}
{{- $values := index .root.Values .component -}}
{{- $values.service.port | default (ternary 443 80 (not (empty $values.tlsSecret))) -}}
{{- end }}

{{/* Edges with volumes of their own are a StatefulSet. */}}
{{- define "flaggery.kind" -}}
{{- if and (eq .component "edge") .root.Values.edge.snapshot.storage -}}StatefulSet{{- else -}}Deployment{{- end -}}
{{- end }}

{{- define "flaggery.image" -}}
{{- $image := .root.Values.image -}}
{{- $repository := $image.repository -}}
{{- with .root.Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{ $repository }}/flaggery-{{ .component }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- with get $image.digests .component }}@{{ . }}{{ end -}}
{{- end }}

{{- define "flaggery.secret" -}}
{{- .root.Values.secrets.existing | default (include "flaggery.name" (dict "root" .root "component" "secrets")) -}}
{{- end }}

{{- define "flaggery.cluster" -}}
{{- include "flaggery.name" (dict "root" .root "component" "db") -}}
{{- end }}

{{- define "flaggery.caSecret" -}}
{{- if .root.Values.cluster.enabled -}}{{ include "flaggery.cluster" . }}-ca{{- else -}}{{ .root.Values.database.caSecret }}{{- end -}}
{{- end }}

{{/* Where a secret is (of: adminToken, databasePassword, adminPassword or edgePassword). */}}
{{- define "flaggery.secretKey" -}}
{{- $from := get .root.Values.secrets.from .of -}}
{{- $name := $from.name | default (include "flaggery.secret" .) -}}
{{- $key := $from.key -}}
{{- if and .root.Values.cluster.enabled (eq .of "databasePassword") -}}
{{- $name = printf "%s-app" (include "flaggery.cluster" .) -}}
{{- $key = "password" -}}
{{- end -}}
valueFrom: {secretKeyRef: {name: {{ $name }}, key: {{ $key }}}}
{{- end }}

{{/* What both the migration and the services need to reach the database (as: database, admin or edge). The password is no part
of the URL, so it may have any characters. */}}
{{- define "flaggery.databaseEnv" -}}
{{- $db := .root.Values.database -}}
{{- $host := $db.host -}}
{{- if .root.Values.cluster.enabled -}}
{{- $host = printf "%s-rw" (include "flaggery.cluster" .) -}}
{{- else if not $host -}}
{{- fail "set database.host, or cluster.enabled" -}}
{{- end -}}
{{- $user := get (dict "database" $db.user "admin" $db.adminUser "edge" $db.edgeUser) .as -}}
{{- $url := printf "postgres://%s@%s:%v/%s?sslmode=%s" $user $host $db.port $db.name $db.sslmode -}}
{{- if include "flaggery.caSecret" . -}}{{- $url = printf "%s&sslrootcert=/etc/flaggery/database/ca.crt" $url -}}{{- end -}}
- name: PGPASSWORD
  {{- include "flaggery.secretKey" (merge (dict "of" (printf "%sPassword" .as)) .) | nindent 2 }}
- name: FLAGGERY_DB_URL
  value: {{ $url | quote }}
{{- end }}

{{/* The parts of a container that no program differs in. */}}
{{- define "flaggery.container" -}}
{{- $values := index .root.Values .component -}}
image: {{ include "flaggery.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- toYaml .root.Values.securityContext | nindent 2 }}
resources:
  {{- with $values.resources }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  requests: {cpu: {{ $values.cpu }}, memory: {{ $values.memoryMi }}Mi}
  limits: {memory: {{ $values.memoryMi }}Mi}
  {{- end }}
{{- $ca := include "flaggery.caSecret" . }}
{{- if or $ca $values.tlsSecret (eq .component "edge") $values.extraVolumeMounts }}
volumeMounts:
  {{- if $ca }}
  - {name: database-ca, mountPath: /etc/flaggery/database, readOnly: true}
  {{- end }}
  {{- if $values.tlsSecret }}
  - {name: tls, mountPath: /etc/flaggery/tls, readOnly: true}
  {{- end }}
  {{- if eq .component "edge" }}
  - {name: snapshot, mountPath: /var/lib/flaggery}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
