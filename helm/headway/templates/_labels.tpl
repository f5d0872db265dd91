{{/* Labels of every object of the chart. */}}
{{- define "headway.labels" -}}
{{ include "headway.labelsWith" (list . (dict)) }}
{{- end -}}

{{/* The same and some more, which count where they say the same: "headway.labelsWith" (list . .Values.podLabels). */}}
{{- define "headway.labelsWith" -}}
{{- $root := index . 0 }}{{ $more := index . 1 -}}
{{ include "headway.selector" $root }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headway
{{- with merge (dict) ($more | default (dict)) ($root.Values.commonLabels | default (dict)) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that select the operator's pod. They cannot change: a Deployment's selector never does. */}}
{{- define "headway.selector" -}}
app.kubernetes.io/name: headway-operator
{{- end -}}
