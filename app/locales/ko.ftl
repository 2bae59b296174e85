# 공간
place-prompt = 프롬프트
place-canvas = 캔버스
place-gallery = 갤러리

# 명령
action-generate = 생성
action-cancel = 실행 취소하기
action-show-prompt = 프롬프트로 이동
action-show-canvas = 캔버스로 이동
action-show-gallery = 갤러리로 이동
action-show-queue = 대기열 보기
action-show-models = 모델 보기
action-show-preferences = 설정
action-show-palette = 명령 팔레트
action-show-history = 프롬프트 기록
action-show-export = 여러 장 만들기
action-show-grid = 비교표 만들기
action-import-jobs = 파일에서 작업 읽기
action-open-picture = 캔버스에서 그림 열기
action-open-settings = 그림에서 설정 가져오기
action-undo = 되돌리기
action-redo = 다시 하기
action-new-seed = 새 시드 뽑기
action-lock-seed = 이 시드 유지
action-swap-sides = 가로와 세로 바꾸기
action-reset-settings = 모델 기본 설정 사용
action-pause-queue = 대기열 일시 정지
action-generate-forever = 계속 생성
action-switch-theme = 어둡게 또는 밝게
action-toggle-side-panel = 옆 패널 보기

# 테마와 미리 보기
theme-system = 시스템 설정
theme-dark = 어둡게
theme-light = 밝게
previews-off = 끔
previews-fast = 빠르게
previews-tiny = 작은 오토인코더

# 위쪽 막대
bar-queue = { $pictures }장 남음
bar-loading = 모델 불러오는 중
bar-no-model = 모델 없음

# 프롬프트 패널
prompt = 프롬프트
prompt-hint = 무엇을 그릴까요
negative = 네거티브 프롬프트
negative-hint = 피하고 싶은 것
tokens = 토큰 { $tokens }/{ $room }
tokens-tip = 프롬프트가 텍스트 인코더의 자리를 얼마나 채우는지 나타냅니다. 긴 프롬프트는 나누어 읽으며, 부분마다 시간이 조금 더 듭니다.
reading-part = 안내 가중치 { $weight }:
reading-until = { $step }단계까지: { $text }
reading-lora = LoRA { $name }: UNet { $unet }, 텍스트 인코더 { $text }
reading-embedding = 임베딩 { $name }
model = 모델
model-tip = 그림을 그리는 체크포인트입니다. 바꾸면 불러오는 데 잠시 걸립니다.
size = 크기(픽셀)
size-tip = 픽셀이 두 배면 시간과 메모리도 두 배 이상 듭니다. 모델이 학습한 크기에 가까울수록 좋습니다.
width = 가로
height = 세로
ratio = 비율 고르기
seed = 시드
seed-tip = 같은 시드와 설정은 같은 그림이 됩니다. 잠그지 않으면 실행마다 새로 뽑습니다. 비용은 없습니다.
count = 장수
count-tip = 한 번에 만드는 그림 수이며 시드가 하나씩 커집니다. 시간은 장수만큼 듭니다.
steps = 스텝
steps-tip = 그림을 다듬는 횟수입니다. 시간은 횟수만큼 들고, 30을 넘으면 거의 달라지지 않습니다.
guidance = 가이던스
guidance-tip = 그림이 프롬프트를 얼마나 따르는지 정합니다. 1이면 꺼지고 시간이 절반이 됩니다. 너무 높으면 타 보입니다.
sampler = 샘플러
sampler-tip = 스텝을 만드는 방법입니다. DPM++ 2M은 적은 스텝으로 충분하고, Euler a는 스텝 수에 따라 달라집니다.
schedule = 스케줄
schedule-tip = 스텝마다 노이즈를 나누는 방법입니다. 비용은 없습니다.
memory-tight = 메모리가 빠듯합니다: { $budget } 중 { $peak }
memory-too-large = 메모리가 모자랍니다: { $budget } 중 { $peak }
memory-savings = 메모리를 덜 쓰는 대신 오래 걸립니다: { $steps }
memory-smaller = { $width } × { $height } 사용
generate = 생성
cancel = 취소
queue-another = { $keys }(으)로 하나 더 대기열에 넣기

# 가운데
viewer-starting = 준비 중
viewer-cancelled = 취소했습니다. 여기까지 그렸습니다.
viewer-go-on = 그래도 만들기
viewer-empty-title = 무엇을 그릴까요?
viewer-empty-text = 프롬프트를 쓰거나 아래에서 골라 시작하세요.
gallery-empty = 만든 그림이 여기에 나타납니다

# 실패
failure-title = 잘 되지 않았습니다
failure-dismiss = 그림으로 돌아가기
failure-copy = 자세한 내용 복사
failure-model = { $model } 모델을 불러올 수 없습니다
failure-use-box = 기본 모델 사용
notice-journal-failed = 변경 사항을 저장할 수 없습니다: { $error }

# 상태
status-ready = 준비됨
status-loading = { $model } 불러오는 중
status-encoding = 프롬프트 읽는 중
status-step = 스텝 { $step }/{ $steps }
status-decoding = 그림 디코딩 중
status-enlarging = 그림 확대 중
status-left = { $time } 남음
status-cancels = { $keys } 키로 취소
status-done = { $time } 만에 완료  ·  시드 { $seed }

# 캔버스
canvas = 캔버스
canvas-empty = 그림 열기
canvas-empty-text = 그림을 여기에 놓거나 Ctrl+V로 붙여 넣거나 파일을 여세요. 그런 다음 바꿀 곳을 칠하세요.
canvas-open = 그림이나 문서 열기
canvas-open-first = 먼저 그림을 여세요. 채우기는 그림을 바꾸는 일입니다.
canvas-save = 문서 저장
canvas-export = PNG로 내보내기
canvas-saved = { $file }(으)로 저장했습니다
canvas-pasted = 붙여 넣은 그림
canvas-unnamed = 이름 없음
canvas-dismiss = 닫기
canvas-no-model = 모델을 아직 불러오는 중입니다. 잠시 뒤에 다시 시도하세요.
canvas-fit = 그림 전체
canvas-actual-size = 실제 크기, 100 %

# 도구
tool-brush = 브러시
tool-eraser = 지우개
tool-rectangle = 사각형
tool-lasso = 올가미
tool-wand = 마술봉
tool-bucket = 페인트 통
tool-gradient = 그레이디언트
tool-colour-brush = 색 브러시
tool-eyedropper = 스포이트
tool-hand = 손
tool-swap = 칠하기와 지우기 바꾸기
hint-brush = 바꿀 곳을 칠하세요. [ 와 ] 로 크기를, Shift와 함께 경도를 바꿉니다.
hint-area = 바꿀 곳 둘레를 끌어 그리세요.
hint-wand = 색을 누르면 이어진 같은 색을 모두 선택합니다.
hint-bucket = 윤곽선 안을 누르면 그 안을 모두 선택합니다.
hint-gradient = 끌면 점점 더 많이 선택합니다. 채우기에서 "회색 쓰기"를 켜세요.
hint-colour-brush = 색으로 밑그림을 그리세요. 다음 채우기는 밑그림에서 시작합니다.
hint-eyedropper = 그림을 눌러 색을 가져옵니다.
hint-hand = 끌어서 그림을 옮깁니다. 휠로 확대합니다.
brush-size = 크기
brush-hardness = 경도
brush-colour = 색
wand-tolerance = 허용 오차
sketch-clear = 밑그림 지우기

# 마스크
mask = 마스크
mask-all = 모두 선택
mask-invert = 마스크 반전
mask-clear = 마스크 지우기
mask-open = 마스크 열기
mask-save = 마스크 저장
mask-edge = 가장자리 픽셀 수
mask-grow = 넓히기
mask-shrink = 좁히기
mask-feather = 흐리기

# 채우기
fill = 채우기
fill-tip = 선택한 곳을 왼쪽 프롬프트대로, 프롬프트가 없으면 주변에 맞추어 그립니다. 고를 수 있는 변형을 세 개 만듭니다.
fill-cancel = 채우기 취소
fill-progress = 변형 { $index }/{ $count }  ·  스텝 { $step }/{ $steps }
fill-strength = 강도
fill-strength-automatic = 보통 강도
fill-strength-tip = 있던 것을 얼마나 덮어 그릴지 정합니다. 1이면 아무것도 남지 않으며, 높을수록 오래 걸립니다.
fill-greys = 회색 쓰기
fill-greys-tip = 반쯤 선택한 곳은 선택하거나 말거나 하는 대신, 채우는 동안 원래 그림을 붙잡고 있습니다.
fill-feather = 흐리기
variation = 변형 { $number }
variations-hint = ← 와 → 로 비교하고, \ 를 누르고 있으면 원본을 봅니다.
variation-accept = 받아들이기
variations-discard = 버리기

# 레이어
layers = 레이어
layers-empty = 받아들인 채우기가 여기에 나타납니다. 저마다 마스크, 프롬프트, 모든 변형을 간직합니다.
layer-unnamed = 채우기 { $number }
layer-hide = { $layer } 숨기기
layer-show = { $layer } 보이기
layer-select = { $layer } 고르기
layer-variations = 변형 { $chosen }/{ $count }
layer-name = 레이어 이름
layer-up = 위로 옮기기
layer-down = 아래로 옮기기
layer-anew = 새 변형 만들기
layer-use-mask = 마스크 다시 쓰기
layer-delete = 레이어 지우기
layer-seed = 시드 { $seed }
# 페이지
close = 닫기
strength = 강도
palette-hint = 명령을 입력하세요
history-hint = 프롬프트 찾기
history-empty = 아직 프롬프트가 없습니다
queue = 대기열
queue-go-on = 계속
queue-pause = 일시 정지
queue-cancel-all = 기다리는 작업 모두 취소
queue-clear = 끝난 작업 지우기
queue-left = { $pictures }장, 약 { $time }
queue-empty = 기다리는 작업이 없습니다
queue-waiting = 대기 중
queue-running = 실행 중
queue-done = 완료
queue-cancelled = 취소됨
queue-failed = 실패
queue-earlier = 앞으로
queue-later = 뒤로
queue-retry = 다시 시도
export = 여러 장 만들기
export-of-file = { $file }의 작업 { $jobs }개
export-pictures = 그림
export-grid = 표
export-folder = 폴더
export-pattern = 이름
export-pattern-tip = 중괄호 안의 필드: index, seed, prompt, model, sampler, steps, cfg, width, height, date
export-names = 파일 이름
export-more = 그리고 { $more }개 더
export-add = { $pictures }장 대기열에 넣기
grid-x = 열
grid-y = 행
grid-values = { $axis }: 값
grid-tip = 값마다 같은 시드로 그림 한 장을 만듭니다. 축이 둘이면 짝마다 한 장이라, 값 4개와 3개는 12배의 시간이 듭니다.
grid-help = 값은 쉼표로 나눕니다. 행에 값이 없으면 한 줄입니다.
models = 모델
models-found = 체크포인트
models-box = 기본 모델
models-add = 폴더 추가
models-forget = 이 폴더 빼기
models-device = 장치
models-device-auto = 자동
models-devices-asked = 장치 찾는 중
preferences = 설정
preferences-look = 모양
preferences-theme = 테마
preferences-language = 언어
preferences-scale = 배율
preferences-motion = 움직임
preferences-motion-off = 움직임 줄이기
preferences-pictures = 그림
preferences-folder = 새 그림 폴더
preferences-wildcards = 와일드카드 폴더
preferences-wildcards-tip = 그 안의 글 파일이 와일드카드입니다. colours.txt는 프롬프트에 __colours__로 쓰며, 파일의 한 줄이 그 자리에 들어갑니다.
preferences-format = 형식
preferences-previews = 그리는 동안 미리 보기
preferences-preview-decoder = 작은 오토인코더
preferences-preview-decoder-choose = 파일 선택
preferences-preview-decoder-tip = 이 체크포인트 종류에 맞는 TAESD의 디코더입니다. 파일이 없으면 빠른 미리 보기를 씁니다.
preferences-notify = 알림
preferences-notify-when = 창이 뒤에 있을 때 마지막 그림이 끝나면
preferences-keys = 단축키
preferences-keys-reset = 기본 단축키 사용
preferences-keys-press = 키를 누르세요
preferences-keys-help = 누른 다음 키를 입력하세요. 백스페이스는 지우고 Esc는 그대로 둡니다.

# 갤러리
gallery-nothing-found = 찾은 그림이 없습니다
gallery-search = 프롬프트와 설정 찾기
gallery-starred = 별표만 보기
gallery-compare = 두 장 비교(Ctrl+클릭으로 두 번째 선택)
gallery-count = 그림 { $pictures }장
gallery-scanning = 폴더 읽는 중
gallery-star = 별표 달기
gallery-unstar = 별표 떼기
gallery-copy = 그림 복사
gallery-copy-settings = 설정 복사
gallery-delete = 휴지통에 넣기
gallery-use-settings = 이 설정 사용
gallery-another = 같은 프롬프트, 새 시드
gallery-to-canvas = 캔버스에서 열기
notice-done = 그림 { $pictures }장을 다 만들었습니다
notice-sheet = 표를 { $file }(으)로 저장했습니다
notice-copied = 복사했습니다
notice-not-deleted = 파일을 옮기지 못했습니다: { $error }
notice-not-taken = 가져오지 못한 설정: { $fields }
notice-taken = { $program } 그림에서 설정을 가져왔습니다

# 스타일
style = 스타일
style-tip = 이름 붙인 설정입니다. 스타일의 프롬프트에 {"{prompt}"}가 있으면 입력한 프롬프트가 들어갑니다.
style-none = 아직 스타일이 없습니다
style-name = 이름
style-save = 저장
style-remove = { $style } 지우기
