{{- define "losswatch.kafkaSettings" -}}
{{- $kafka := .Values.kafka }}
{{- $secure := ternary "SSL" "PLAINTEXT" $kafka.tls.enabled }}
{{- $given := dict "security_protocol" $secure }}
{{- if $kafka.sasl.mechanism }}
{{- $name := ternary "$(KAFKA_USERNAME)" $kafka.sasl.username (ne $kafka.sasl.usernameKey "") }}
{{- $given = dict "security_protocol" (printf "SASL_%s" $secure) "sasl_mechanism" $kafka.sasl.mechanism "sasl_plain_username" $name }}
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.caSecret }}
{{- $_ := set $given "ssl_cafile" "/etc/losswatch/kafka-ca/ca.crt" }}
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.clientSecret }}
{{- $_ := set $given "ssl_certfile" "/etc/losswatch/kafka-client/tls.crt" }}
{{- $_ := set $given "ssl_keyfile" "/etc/losswatch/kafka-client/tls.key" }}
{{- end }}
{{- mergeOverwrite $given (deepCopy $kafka.settings) | toJson }}
{{- end }}

{{- /* The environment of whatever talks to Kafka. KAFKA_USERNAME comes first: the settings refer to it. */}}
{{- define "losswatch.kafkaEnv" -}}
{{- $sasl := .Values.kafka.sasl }}
{{- if $sasl.mechanism }}
{{- $secret := required "kafka.sasl.existingSecret: name the Secret that has the password." $sasl.existingSecret }}
- name: KAFKA_USERNAME
  {{- if $sasl.usernameKey }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $sasl.usernameKey }}
  {{- else }}
  value: {{ required "kafka.sasl.username: give the user name, or usernameKey if it is in the Secret." $sasl.username | quote }}
  {{- end }}
- name: LOSSWATCH_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $sasl.passwordKey }}
{{- end }}
- name: LOSSWATCH_BOOTSTRAP_SERVERS
  value: {{ .Values.kafka.bootstrapServers | quote }}
- name: LOSSWATCH_KAFKA
  value: {{ include "losswatch.kafkaSettings" . | quote }}
- name: LOSSWATCH_PARTITIONS
  value: {{ .Values.kafka.partitions | toJson | quote }}
{{- end }}

{{- define "losswatch.kafkaVolumeMounts" -}}
{{- $tls := .Values.kafka.tls }}
- name: tmp
  mountPath: /tmp
{{- if and $tls.enabled $tls.caSecret }}
- name: kafka-ca
  mountPath: /etc/losswatch/kafka-ca
  readOnly: true
{{- end }}
{{- if and $tls.enabled $tls.clientSecret }}
- name: kafka-client
  mountPath: /etc/losswatch/kafka-client
  readOnly: true
{{- end }}
{{- end }}

{{- define "losswatch.kafkaVolumes" -}}
{{- $tls := .Values.kafka.tls }}
- name: tmp
  emptyDir: {}
{{- if and $tls.enabled $tls.caSecret }}
- name: kafka-ca
  secret:
    secretName: {{ $tls.caSecret }}
    defaultMode: 0440
    items:
      - key: {{ $tls.caKey }}
        path: ca.crt
{{- end }}
{{- if and $tls.enabled $tls.clientSecret }}
- name: kafka-client
  secret:
    secretName: {{ $tls.clientSecret }}
    defaultMode: 0440
    items:
      - key: {{ $tls.certKey }}
        path: tls.crt
      - key: {{ $tls.keyKey }}
        path: tls.key
{{- end }}
{{- end }}
