{{/*
  A reference to an image: "headway.image" (list . .Values.image). A digest says it all; without
  one it is the tag, and without that the version of the chart.
*/}}
{{- define "headway.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}
