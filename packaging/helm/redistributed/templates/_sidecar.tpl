{{/*
The variable REDIS_URL of the service: the address of the sidecar, or of the Redis itself while the sidecar is not enabled.
*/}}
{{- define "redistributed.redisUrlEnv" -}}
{{- $values := .Values.redistributed -}}
- name: REDIS_URL
{{- if $values.enabled }}
  value: redis://127.0.0.1:{{ $values.redis.port }}
{{- else }}
  {{- include "redistributed.upstream" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The value of the Redis's URL, from the values or from a secret. */}}
{{- define "redistributed.upstream" -}}
{{- $redis := .Values.redistributed.redis -}}
{{- if $redis.urlSecret -}}
valueFrom:
  secretKeyRef:
    name: {{ required "redistributed.redis.urlSecret.name: name the secret that holds the URL of Redis" $redis.urlSecret.name }}
    key: {{ required "redistributed.redis.urlSecret.key: name the key of the secret that holds the URL of Redis" $redis.urlSecret.key }}
{{- else -}}
value: {{ required "redistributed.redis.url: name the Redis, as in redis://redis:6379, or a secret with redistributed.redis.urlSecret" $redis.url | quote }}
{{- end }}
{{- end }}

{{/* Annotations of the pod, by which many Prometheus configurations find the metrics. */}}
{{- define "redistributed.podAnnotations" -}}
{{- if .Values.redistributed.enabled -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.redistributed.adminPort | quote }}
{{- end }}
{{- end }}

{{/*
The sidecar, an entry of `initContainers`. It starts before the service, is ready before the service starts, and stops after
it, so that no first and no last message is missed. Nothing while it is not enabled.
*/}}
{{- define "redistributed.initContainer" -}}
{{- $values := .Values.redistributed -}}
{{- if $values.enabled -}}
- name: redistributed
  image: {{ printf "%s:%s" $values.image.repository (default "0.1.0" $values.image.tag) | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  restartPolicy: Always
  env:
    # The pod's loopback address: nobody outside of the pod reaches it.
    - name: REDISTRIBUTED_LISTEN
      value: 127.0.0.1:{{ $values.redis.port }}
    - name: REDISTRIBUTED_UPSTREAM
      {{- include "redistributed.upstream" . | nindent 6 }}
    {{- if $values.http }}
    - name: REDISTRIBUTED_HTTP
      value: 0.0.0.0:{{ $values.http.listen }},127.0.0.1:{{ $values.http.service }}
    {{- end }}
    - name: REDISTRIBUTED_MODE
      value: {{ $values.mode }}
    # The mode can be switched from loopback only, which `kubectl port-forward` comes by.
    - name: REDISTRIBUTED_ADMIN
      value: 0.0.0.0:{{ $values.adminPort }}
    - name: REDISTRIBUTED_MAX_CONNECTIONS
      value: {{ $values.maxConnections | quote }}
    - name: OTEL_SERVICE_NAME
      value: {{ default .Release.Name $values.serviceName | quote }}
    - name: OTEL_EXPORTER_OTLP_ENDPOINT
      value: {{ $values.otlpEndpoint | quote }}
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: OTEL_RESOURCE_ATTRIBUTES
      value: k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME),host.name=$(NODE_NAME)
    {{- with $values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  # The listener is on loopback, which the kubelet does not reach, so the program asks itself. There is no liveness probe: a
  # restart of the sidecar cuts every connection of the service, so only a crash may cause it.
  startupProbe:
    exec:
      command: ["/usr/local/bin/redistributed", "--healthcheck"]
    periodSeconds: 1
    failureThreshold: 30
  readinessProbe:
    exec:
      command: ["/usr/local/bin/redistributed", "--healthcheck"]
    periodSeconds: 10
  ports:
    - name: metrics
      containerPort: {{ $values.adminPort }}
    {{- if $values.http }}
    - name: http
      containerPort: {{ $values.http.listen }}
    {{- end }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    capabilities:
      drop: ["ALL"]
    seccompProfile:
      type: RuntimeDefault
{{- end }}
{{- end }}
