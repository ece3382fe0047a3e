// SPDX-License-Identifier: Apache-2.0

package lab

import "fmt"

// EchoImage is the image that stands for the echo server. Its arguments are ports
// (8080 without), on each of which it answers over HTTP, TCP and UDP.
const EchoImage = "herald-lb/echo"

// EchoManifest returns a Deployment of echo servers that listen on port 8080,
// labelled app: name.
func EchoManifest(namespace, name string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[2]s
  namespace: %[1]s
spec:
  replicas: %[3]d
  selector:
    matchLabels: {app: %[2]s}
  template:
    metadata:
      labels: {app: %[2]s}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: %[4]s
        args: ["8080"]
        ports:
        - {name: tcp, containerPort: 8080}
        - {name: udp, containerPort: 8080, protocol: UDP}
        readinessProbe:
          httpGet: {path: /, port: 8080}
          periodSeconds: 2
`, namespace, name, replicas, EchoImage)
}
