{{/* Labels of every object of the chart. */}}
{{- define "headway.labels" -}}
{{ include "headway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headway
{{- end -}}

{{/* Labels that select the controller's pod. */}}
{{- define "headway.selector" -}}
app.kubernetes.io/name: headway-operator
{{- end -}}
