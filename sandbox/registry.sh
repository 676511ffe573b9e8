# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# One image store behind two doors: plain HTTP on port 5000, TLS on port 5443.

certificates_up() {
  local folder=$state/registry
  mkdir -p "$folder"
  if [ -e "$folder/tls.crt" ]; then return; fi
  local new=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  {
    "${new[@]}" -x509 -days 3650 -subj /CN=sandbox-ca -keyout "$folder/ca.key" -out "$folder/ca.crt"
    "${new[@]}" -subj /CN=sandbox-registry -keyout "$folder/tls.key" -out "$folder/tls.csr"
    echo "subjectAltName=IP:$registry_ip" >"$folder/tls.ext"
    openssl x509 -req -in "$folder/tls.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -days 3650 \
      -out "$folder/tls.new" -extfile "$folder/tls.ext"
    mv "$folder/tls.new" "$folder/tls.crt"
  } >"$folder/openssl.log" 2>&1 || die "could not make the registry's certificates, see $folder/openssl.log"
}

registry_up() {
  local folder=$state/registry
  if [ ! -e "$folder/htpasswd" ]; then
    # bcrypt by perl: saves installing a web server's tools for one line
    perl -e '
      my @c = ("a".."z", "A".."Z", 0..9);
      chomp(my $password = <STDIN>);
      print "sandbox:", crypt($password, join "", q($2y$05$), (map { $c[rand @c] } 1..21), "u"), "\n";
    ' <"$state/keys/registry-password" >"$folder/htpasswd.new"
    mv "$folder/htpasswd.new" "$folder/htpasswd"
  fi
  registry_serve registry "$registry_ip:5000" ''
  registry_serve registry-tls "$registry_ip:5443" "tls: {certificate: $folder/tls.crt, key: $folder/tls.key}"
}

registry_serve() {
  local name=$1 address=$2 tls=$3 folder=$state/registry
  if pid "$name" >/dev/null; then return; fi
  cat >"$folder/$name.yml" <<END
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $folder/data}, delete: {enabled: true}}
http: {addr: "$address", secret: sandbox, $tls}
auth: {htpasswd: {realm: sandbox, path: $folder/htpasswd}}
END
  setsid nsenter --net="/run/netns/$switch" docker-registry serve "$folder/$name.yml" >>"$folder/$name.log" 2>&1 </dev/null 9<&- &
  record "$name" $! "$folder/$name.log"
}

registry_wait() {
  for _ in {1..200}; do
    if curl -s -o /dev/null --noproxy '*' "http://$registry_ip:5000/v2/" &&
      curl -s -o /dev/null --noproxy '*' --cacert "$state/registry/ca.crt" "https://$registry_ip:5443/v2/"; then return; fi
    sleep 0.05
  done
  die "the registry does not answer, see $state/registry/registry.log"
}
