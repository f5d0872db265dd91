{{/* Labels of every object of the chart. */}}
{{- define "headway.labels" -}}
{{ include "headway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headway
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that select the operator's pod. They cannot change: a Deployment's selector never does. */}}
{{- define "headway.selector" -}}
app.kubernetes.io/name: headway-operator
{{- end -}}
