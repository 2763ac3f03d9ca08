"""What the crawler-user-agents list misses in practice, as (name, pattern) in the syntax of Rust's regex crate.

Found by running the list over a real web server's log and over the names that today's AI crawlers, HTTP libraries,
monitors, scanners and headless browsers give themselves. Patterns look at any part of the user agent, letter case
included unless they start with (?i).
"""

BOTS: tuple[tuple[str, str], ...] = (
    # AI crawlers and agents
    ("PerplexityBot", r"PerplexityBot"),
    ("Meta external agent", r"(?i)meta-external(?:agent|fetcher)"),
    ("Diffbot", r"Diffbot"),
    ("GrokBot", r"GrokBot|xAI-"),
    ("Google-Extended", r"Google-Extended|Google-CloudVertexBot|Google-NotebookLM"),
    ("Claude", r"(?i)claude-(?:web|user|searchbot|code)|anthropic-ai"),
    ("Cohere", r"cohere-(?:ai|training)"),
    ("Bedrock", r"(?i)bedrockbot"),
    ("Manus", r"Manus-User"),
    # Headless and remotely driven browsers
    ("Headless browser", r"(?i)headless|phantomjs|slimerjs|puppeteer|playwright|selenium|webdriver|casperjs"),
    ("Headless browser", r"(?i)\bjsdom\b|\bhtmlunit|\bcypress/|\bnightmare\b|\bzombie\.js"),
    # HTTP libraries and tools: they call themselves by name at the very start
    (
        "HTTP library",
        (
            r"(?i)^(?:got|undici|node(?:\.js|-fetch|-superagent)?|axios|deno|bun|needle|superagent|request|reqwest|hyper|ureq|isahc|surf"
            r"|rust|curl|libcurl|pycurl|python|aiohttp|httpx|urllib|ruby|rest-client|typhoeus|faraday|httparty|mechanize"
            r"|php|guzzlehttp|symfony|http_request2?|pear|zend|buzz|snoopy|java|jakarta|apache-httpclient|apache-http|okhttp|unirest|ktor"
            r"|dart|go|go-http-client|go-resty|fasthttp|perl|libwww|lwp|winhttp|powershell|wininet|microsoft-cryptoapi|cpp-httplib|boost"
            r"|fetch|libfetch|aria2|axel|lftp|wget2?|httpie|xh|postman|postmanruntime|insomnia|bruno|paw|hoppscotch|soapui|jmeter|gatling|k6"
            r"|locust|vegeta|hey|wrk|siege|ab|apachebench|autocannon|oha|elixir|hackney|tesla|finch|erlang|haskell|clojure|clj-http|dotnet|\.net)"
            r"(?:[ /;(\-_]|$)"
        ),
    ),
    ("HTTP library", r"(?i)fetch libfetch|guzzlehttp|libcurl/|python-requests|apache-httpclient|scrapy|\bwinhttp\b"),
    # Monitors, probes, platforms
    (
        "Monitor",
        (
            r"(?i)uptime|pingdom|statuscake|site24x7|datadog|newrelicpinger|nagios|icinga|zabbix|check_http|checkly|sensu|healthcheck"
            r"|health-check|kube-probe|blackbox-exporter|prometheus|route53|googlestackdriver|catchpoint|dynatrace|ruxitsynthetic|gomez"
            r"|gtmetrix|lighthouse|pagespeed|ptst/|speedcurve|freshping|hetrixtools|hyperspin|alertra|pulsetic|monit/|monitis|montastic"
        ),
    ),
    ("Monitor", r"(?i)(?:^|[^a-z])(?:status|web|site|page)[ -]?(?:monitor|check)"),
    # Scanners
    (
        "Scanner",
        (
            r"(?i)\b(?:nmap|nikto|nuclei|sqlmap|wpscan|censys|censysinspect|expanse|masscan|zgrab|l9explore|leakix|netcraft|acunetix|nessus|openvas"
            r"|qualys|burp|zap|gobuster|dirbuster|feroxbuster|ffuf|wfuzz|shodan|fofa|onyphe|internet-measurement|netsystemsresearch)\b"
        ),
    ),
    ("Screaming Frog", r"Screaming[ -]Frog"),
    # Feed readers and link previews
    (
        "Feed reader",
        (
            r"(?i)feed(?:parser|fetcher|reader|burner|bin|ly|demon|hq)|netnewswire|liferea|reeder/|newsify|inoreader|newsblur|miniflux|freshrss"
            r"|tiny[ -]tiny[ -]rss|\brss\b|\batom\b|livejournal\.com|bazqux|akregator|newsboat|vienna/|simplepie"
        ),
    ),
    ("Link preview", r"(?i)urlpreview|link[ -]?preview|pleroma|mastodon/|akkoma|misskey|irssiurllog|snapchat url"),
    # Tools that were met in real logs
    ("Ezooms", r"Ezooms"),
    ("portscout", r"^portscout|^distilator"),
    ("Google Desktop", r"Google Desktop"),
    ("Microsoft Office", r"Microsoft Office|ms-office|Microsoft-WebDAV|Word/\d|Excel/\d|OneNote/\d"),
    ("Daumoa", r"Daumoa|aboutWebSearch"),
    ("Robosourcer", r"^Robosourcer"),
    ("Chef", r"^Chef Client"),
    # The words that all robots share. Cubot is a make of telephones, hence no u before "bot".
    ("Robot", r"(?i)(?:^|[^u])bots?(?:[^a-z]|$)|\brobot"),
    ("Crawler", r"(?i)crawl|spider|scrap(?:er|ing|y)|slurp|harvest|archiver|indexer"),
    ("Validator", r"(?i)valid(?:ator|ation)|link[ _-]?check|(?:url|web|site)[ _-]?checker"),
    ("Fetcher", r"(?i)\b(?:fetcher|downloader|getter|wget|collector|aggregator|transcoder|proxy\b.*prefetch)"),
    # An address to complain to is the etiquette of crawlers; no browser gives one.
    ("Robot with a contact", r"(?i)\+ ?https?://|\+ ?www\."),
    ("Robot with a contact", r"(?i)[a-z0-9._-]+@[a-z0-9-]+\.[a-z]{2,}"),
    ("Robot with a contact", r"(?i)^[^(]*\(?https?://[^)]*\)?$"),
    # No browser's user agent ends so early.
    ("Bare user agent", r"^(?:Mozilla|Opera)(?:/\d+(?:\.\d+)*)?\s*(?:\(compatible;?\s*\))?$"),
    ("Bare user agent", r"^[^A-Za-z]*$|^.{1,3}$|^[&?=]"),
)
